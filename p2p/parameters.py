"""Every bound of the network layer, by name.  One frozen value is handed to all parts of a node."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class NetworkLimits:
    """Bounds in bytes, counts and seconds.  The defaults suit tens of validators and about a hundred other peers."""

    # Frames and the outgoing queue of one peer.
    frame_bytes_max: int = 4 * MIB
    queue_frames_max: int = 8_192
    queue_bytes_max: int = 16 * MIB
    coalesce_bytes: int = 65_507
    """One write carries about this much: with yamux's 12-byte header it is exactly one noise record."""
    write_deadline_s: float = 5.0
    """A write that makes no progress for this long ends the connection: what was cut off cannot be continued."""

    # What one peer may ask of us.
    frames_per_second: int = 20_000
    frames_burst: int = 40_000
    muxer_frames_per_second: int = 40_000
    muxer_frames_burst: int = 80_000
    """Frames of yamux and records of noise, which a peer can make smaller than any of ours."""
    streams_max: int = 64
    stream_window_bytes: int = MIB
    connection_buffer_bytes_max: int = 4 * MIB
    """Received and not yet read, over all streams of one connection."""
    control_bytes_max: int = 64 * 1024
    """Answers owed to pings and window updates that a peer does not take off our hands."""
    inbound_frames_waiting: int = 64
    """Frames of all peers together that wait for the node; then each peer waits its turn, first come first served."""

    # Connections.
    inbound_connections_max: int = 512
    inbound_connections_per_address_max: int = 128
    accepts_per_second_per_address: int = 50
    accepts_burst_per_address: int = 400
    inbound_connections_per_range_max: int = 256
    accepts_per_second_per_range: int = 200
    accepts_burst_per_range: int = 800
    range_limits_on_loopback: bool = False
    """Whether this machine's own addresses, too, are limited by their range; by address they are always."""
    addresses_counted_max: int = 4_096
    handshakes_max: int = 64
    """Unauthenticated connections; when there are more, the oldest of the busiest range's busiest address is closed."""
    connections_per_peer_max: int = 3
    strangers_max: int = 128
    """Connections from peers that are not configured by key."""
    strangers_per_range_max: int = 32
    """Of these, from one range of addresses: many keys in one place are cheap (p2p/address_ranges.py)."""
    linkless_s: float = 60.0
    """An authenticated connection that opens no link (another implementation's ping, say) is closed after this."""
    upgrade_timeout_s: float = 5.0
    hello_timeout_s: float = 5.0
    dial_timeout_s: float = 10.0

    # Dialing.
    retry_s_min: float = 0.1
    retry_s_max: float = 5.0
    steady_s: float = 2.0
    """A link that lived this long resets the retry delay."""
    dial_anyway_s: float = 10.0
    """The side that should be dialed starts to dial itself when no link came up for this long."""

    # The address book (p2p/address_book.py) and who is dialed from it (p2p/discovery.py).
    book_max: int = 1_024
    book_per_range_max: int = 32
    book_claims_per_source_max: int = 32
    """Addresses that one peer told and nobody has verified yet."""
    book_claims_per_source_range_max: int = 128
    book_claim_failures_max: int = 3
    book_failures_max: int = 10
    """So many dials in a row to an address that met its key before; then it is forgotten."""
    book_retry_s: int = 5
    """Doubled for each failure in a row, up to the next."""
    book_retry_s_max: int = 3_600
    book_verify_again_s: int = 3_600
    book_save_s: float = 60.0
    outbound_per_range_max: int = 2
    """Links that are dialed from the book in one range of addresses."""
    outbound_dials_max: int = 4
    discovery_interval_s: float = 1.0
    verify_interval_s: float = 1.0
    ask_interval_s: float = 60.0
    ask_lacking_interval_s: float = 5.0
    """How often one peer is asked for addresses while links are lacking."""
    addresses_told_max: int = 32
    addresses_told_again_s: float = 60.0
    """So long all who ask get the same addresses, so that asking often tells no more than an answer holds."""

    # Liveness.
    heartbeat_interval_s: float = 1.0
    heartbeat_deadline_s: float = 5.0
    """Silence of a peer for this long, while we were reading, means it is gone."""

    # Requests.
    request_bytes_max: int = 256 * 1024
    request_timeout_s: float = 10.0
    response_bytes_max: int = 16 * MIB
    response_chunk_bytes: int = 256 * 1024
    response_queue_bytes_max: int = MIB
    """Chunks of responses wait while more than this is queued for the peer."""
    requests_outstanding_max: int = 16
    requests_served_max: int = 8
    requests_served_total_max: int = 64

    # Questions of programs that are no nodes, one on a stream (p2p/open_service.py).
    question_bytes_max: int = 1_024
    question_timeout_s: float = 5.0
    answer_timeout_s: float = 15.0
    """An answer that a peer has not taken by then is given up: it lies in our memory."""
    questions_open_max: int = 4
    """Of one peer; one more is answered `busy`."""
    questions_per_second: int = 20
    questions_burst: int = 100
    questioners_counted_max: int = 4_096
    answers_held_max: int = 16
    """Answers of one protocol that are made or sent at a time, to all peers."""

    # Scores.
    peers_scored_max: int = 4_096
    ban_score: int = 100
    ban_s: float = 300.0
    score_decay_per_s: float = 0.5

    def __post_init__(self) -> None:
        assert self.response_chunk_bytes + 64 <= self.frame_bytes_max, "a chunk of a response fits in a frame"
        assert self.request_bytes_max + 512 <= self.frame_bytes_max, "a request fits in a frame"
        assert self.queue_bytes_max >= self.frame_bytes_max, "the largest frame fits in an empty queue"
        assert self.book_max <= 4_096, "the book fits in its file"
        assert self.heartbeat_interval_s < self.heartbeat_deadline_s, "a peer may miss a heartbeat"
