"""The one table of LevelDB keys.  No other file makes a key.

First byte:
    s  state: in the state digest, with undo records
    i  index: derived from events for reading, append-only (its keys end in a log index), in no digest
    h, c  headers and certificates by height        e, r, x  events and receipts by log index, log index by event id
    l  log tree nodes by level and index            p  payloads by content hash
    u, U  undo records by key and height, and the keys of a height        m  meta
Numbers are big-endian, so that LevelDB's order is theirs.
"""

STATE = b"s"
INDEX = b"i"
UNDO = b"u"
UNDO_KEYS = b"U"
HEADER = b"h"
CERTIFICATE = b"c"
EVENT = b"e"
RECEIPT = b"r"
EVENT_ID = b"x"
LOG_NODE = b"l"
PAYLOAD = b"p"

META_HEAD = b"mhead"
META_GENESIS = b"mgenesis"
META_LANES = b"mlanes"
META_UNDO_FLOOR = b"mundo"
META_FORMAT = b"mformat"

HEIGHT_MAX = 2**64 - 1


def u64(number: int) -> bytes:
    """Return a number as 8 bytes that sort as it does."""
    return number.to_bytes(8, "big")


def after(prefix: bytes) -> bytes:
    """Return the first key above all that start with `prefix`.  Every prefix has a byte below 255: its letters."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


# State: accounts, tokens, social.


def account(account_id: bytes) -> bytes:
    return b"sa" + account_id


def nonce(account_id: bytes) -> bytes:
    return b"sn" + account_id


def balance(token: str, account_id: bytes) -> bytes:
    return b"sb" + token.encode() + b"/" + account_id


def issued(token: str) -> bytes:
    return b"si" + token.encode()


def handle(name: str) -> bytes:
    return b"sh" + name.encode()


def handle_of(account_id: bytes) -> bytes:
    return b"sH" + account_id


def profile(account_id: bytes) -> bytes:
    return b"sp" + account_id


def post(post_id: bytes) -> bytes:
    return b"sP" + post_id


def post_count(account_id: bytes) -> bytes:
    return b"sc" + account_id


def reply_count(post_id: bytes) -> bytes:
    return b"sr" + post_id


def like(post_id: bytes, account_id: bytes) -> bytes:
    return b"sl" + post_id + account_id


def like_count(post_id: bytes) -> bytes:
    return b"sL" + post_id


def follow(follower: bytes, followed: bytes) -> bytes:
    return b"sf" + follower + followed


def following_count(account_id: bytes) -> bytes:
    return b"sF" + account_id


def follower_count(account_id: bytes) -> bytes:
    return b"sG" + account_id


def beat() -> bytes:
    return b"st"


# Indexes: each ends in a log index, and is never changed once written.

FEED = b"if"
BY_TYPE = b"it"
BY_AUTHOR = b"ia"
POSTS_OF = b"ip"
REPLIES_TO = b"ir"
TRANSFERS_OF = b"iw"


def in_feed(log_index: int) -> bytes:
    return FEED + u64(log_index)


def by_type(event_type: str, log_index: int) -> bytes:
    return BY_TYPE + event_type.encode() + b"/" + u64(log_index)


def by_author(account_id: bytes, log_index: int) -> bytes:
    return BY_AUTHOR + account_id + u64(log_index)


def post_of(account_id: bytes, log_index: int) -> bytes:
    return POSTS_OF + account_id + u64(log_index)


def reply_to(post_id: bytes, log_index: int) -> bytes:
    return REPLIES_TO + post_id + u64(log_index)


def transfer_of(account_id: bytes, log_index: int) -> bytes:
    return TRANSFERS_OF + account_id + u64(log_index)


# The ledger itself.


def header(height: int) -> bytes:
    return HEADER + u64(height)


def certificate(height: int) -> bytes:
    return CERTIFICATE + u64(height)


def event(log_index: int) -> bytes:
    return EVENT + u64(log_index)


def receipt(log_index: int) -> bytes:
    return RECEIPT + u64(log_index)


def event_id(identifier: bytes) -> bytes:
    return EVENT_ID + identifier


def log_node(level: int, index: int) -> bytes:
    return LOG_NODE + bytes([level]) + u64(index)


def payload(content_hash: bytes) -> bytes:
    return PAYLOAD + content_hash


def undo(state_key: bytes, height: int) -> bytes:
    return UNDO + state_key + u64(height)


def undo_keys(height: int) -> bytes:
    return UNDO_KEYS + u64(height)
