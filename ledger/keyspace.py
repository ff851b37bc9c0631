"""The one table of LevelDB keys.  No other file makes a key, but `ledger.index_keys`, which is a part of it.

First byte:
    s  state: in the state digest, with undo records
    i  index: derived from events for reading, append-only (its keys end in a log index), in no digest
    h, c  headers and certificates by height        e, r, x  events and receipts by log index, log index by event id
    l  log tree nodes by level and index            p  payloads by content hash
    u, U  undo records by key and height, and the keys of a height        m  meta
    E  the height that began each epoch     T, V, W, X  the state tree: rows, what they were, who changed, versions
    w  what events did to an account's balances (its keys end in a log index), in no digest
    q  a snapshot that is being fetched: keys as above, after a q
Numbers are big-endian, so that LevelDB's order is theirs.
"""

from ledger import index_keys

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
EPOCH_START = b"E"
TREE_ROW = b"T"
TREE_UNDO = b"V"
TREE_ROWS = b"W"
TREE_VERSION = b"X"
STAGED = b"q"
CHUNK = b"k"

META_HEAD = b"mhead"
META_GENESIS = b"mgenesis"
META_LANES = b"mlanes"
META_UNDO_FLOOR = b"mundo"
META_FORMAT = b"mformat"
META_TREE = b"mtree"
META_HISTORY = b"mhistory"
META_STAGED = b"mstaged"
META_STAGED_VALIDATORS = b"mstaged-validators"
META_INSTALLING = b"minstalling"

HEIGHT_MAX = 2**64 - 1

FEED = index_keys.FEED
BY_TYPE = index_keys.BY_TYPE
BY_AUTHOR = index_keys.BY_AUTHOR
POSTS_OF = index_keys.POSTS_OF
REPLIES_TO = index_keys.REPLIES_TO
TRANSFERS_OF = index_keys.TRANSFERS_OF
IN_COMMUNITY = index_keys.IN_COMMUNITY
ON_SUBJECT = index_keys.ON_SUBJECT
MODERATED_IN = index_keys.MODERATED_IN
DECISIONS = index_keys.DECISIONS
APPEALS = index_keys.APPEALS
MOVES = index_keys.MOVES
u64 = index_keys.u64
in_feed = index_keys.in_feed
by_type = index_keys.by_type
by_author = index_keys.by_author
post_of = index_keys.post_of
reply_to = index_keys.reply_to
transfer_of = index_keys.transfer_of
listed = index_keys.listed
move_of = index_keys.move_of


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


# State: the economy.


def burned(token: str) -> bytes:
    return b"sB" + token.encode()


def standing(account_id: bytes) -> bytes:
    return b"sk" + account_id


def endorsement(account_id: bytes, number: int) -> bytes:
    """One of an account's endorsements in its current epoch; the places are used again in the next."""
    return b"sv" + account_id + number.to_bytes(2, "big")


def active_account(number: int) -> bytes:
    """One of the accounts that acted in the current epoch; the places are used again in the next."""
    return b"sA" + u64(number)


def active_count() -> bytes:
    return b"sAn"


def item(item_id: bytes) -> bytes:
    """What the economy remembers of a post or reply."""
    return b"sI" + item_id


def repost(post_id: bytes, account_id: bytes) -> bytes:
    return b"sR" + post_id + account_id


def repost_count(post_id: bytes) -> bytes:
    return b"sS" + post_id


def vouch(voucher: bytes, vouched: bytes) -> bytes:
    return b"sV" + voucher + vouched


def vouches(account_id: bytes) -> bytes:
    return b"sW" + account_id


def economy() -> bytes:
    """What one epoch hands to the next: growth, epoch totals."""
    return b"sm"


# State: policies and guards.


def policies() -> bytes:
    return b"sy"


def policy_count(name: str) -> bytes:
    return b"sY" + name.encode()


def policy_version(name: str, version: int) -> bytes:
    return b"sY" + name.encode() + b"/" + u64(version)


def conduct(account_id: bytes) -> bytes:
    """Faults and quarantine of an account."""
    return b"sg" + account_id


def circuit(module: str) -> bytes:
    return b"sC" + module.encode()


# State: roles, keys, recovery.


def role_grant(account_id: bytes, role: str, space: bytes) -> bytes:
    return b"sq" + account_id + space + role.encode()


def roles_of(account_id: bytes) -> bytes:
    """What roles an account holds, in one record: every event asks for it."""
    return b"sQ" + account_id


def account_key(account_id: bytes, key: bytes) -> bytes:
    """A key that is or was one of an account; a revoked one stays, so that it is never added again."""
    return b"sx" + account_id + key


def live_keys(account_id: bytes) -> bytes:
    return b"sX" + account_id


def recovery_agents(account_id: bytes) -> bytes:
    return b"sz" + account_id


def recovery(account_id: bytes) -> bytes:
    return b"sZ" + account_id


def space_founder(space_id: bytes) -> bytes:
    """The account id of who founded a space."""
    return b"swf" + space_id


def root_of(key: bytes) -> bytes:
    """The account that a key became the root key of by rotation or recovery."""
    return b"swr" + key


def access_seal(account_id: bytes) -> bytes:
    return b"sws" + account_id


# State: communities, moderation, appeals.


def community(part: str, space: bytes, more: bytes = b"") -> bytes:
    """c: the record; m: a member; r: a version of the rules; p: the guard profile; t: the place of a post."""
    return b"sK" + part.encode() + space + more


def community_name(name: str) -> bytes:
    return b"sKn" + name.encode()


def moderation(part: str, subject: bytes, more: bytes = b"") -> bytes:
    """c, r: case of a post, who reported it; d: decision; i, l: what hides a post, locks a thread; s: suspension.

    f: FLX held of an account; h, H: what a decision holds, how much of it; m: record of a moderator; q: a place in the
    queue of decisions that can be appealed; a, v: appeal, vote of a reviewer.
    """
    return b"sM" + part.encode() + subject + more


def roll(name: str, part: str, owner: bytes, more: bytes = b"") -> bytes:
    """A numbered list of ids (`ledger.rolls`).  n: how many; p: the one at a place; o: the place of one."""
    return b"sJ" + name.encode() + part.encode() + owner + more


def seed() -> bytes:
    """The hash of the header below the block that began the current beat."""
    return b"su"


# State: nodes and their service.


def validators() -> bytes:
    """The validator set that orders the next height."""
    return b"sNv"


def era(number: int) -> bytes:
    """The validator set of an era; it stays, so that old certificates can be checked."""
    return b"sNe" + number.to_bytes(4, "big")


def membership() -> bytes:
    """Changes of the validator set that wait for the end of an epoch."""
    return b"sNm"


def evidence(key: bytes) -> bytes:
    """What proves that a validator's key signed two messages that contradict each other."""
    return b"sNq" + key


def node(key: bytes) -> bytes:
    """A node that is or was registered; its record stays, so that a key is never registered again."""
    return b"sNn" + key


def listed_node(place: int) -> bytes:
    """The key of one of the registered nodes; the last takes the place of one that leaves."""
    return b"sNl" + place.to_bytes(4, "big")


def node_count() -> bytes:
    return b"sNc"


def node_outcome(key: bytes) -> bytes:
    """What the last settled epoch made of a node."""
    return b"sNo" + key


def service(epoch: int) -> bytes:
    """What validators did in an epoch; two places, used in turn."""
    return b"sNs" + bytes([epoch % 2])


def beat_votes(place: int) -> bytes:
    """Who has signed a block of a beat, by the beat's place in its epoch; used again in the next."""
    return b"sNb" + u64(place)


def attestations(node_key: bytes) -> bytes:
    """What validators attested of a node for one epoch; used again for the next."""
    return b"sNa" + node_key


# State: governance.


def weights(account_id: bytes) -> bytes:
    """What an account weighs in social votes, by epoch."""
    return b"soW" + account_id


def mass(epoch: int) -> bytes:
    """The sum of the newest weights that hold from this epoch."""
    return b"soM" + u64(epoch)


def held_epochs() -> bytes:
    """The epochs whose weights an open proposal still needs."""
    return b"soH"


def draft(draft_id: bytes) -> bytes:
    return b"sod" + draft_id


def policy_report(report_hash: bytes) -> bytes:
    return b"sor" + report_hash


def proposal(proposal_id: bytes) -> bytes:
    return b"sop" + proposal_id


def open_proposals() -> bytes:
    return b"soo"


def elector(proposal_id: bytes, account_id: bytes) -> bytes:
    """What an operator weighs in a vote of the infra track."""
    return b"soe" + proposal_id + account_id


def vote(proposal_id: bytes, account_id: bytes) -> bytes:
    return b"sov" + proposal_id + account_id


def last_proposal(account_id: bytes) -> bytes:
    """The beat of an account's last proposal."""
    return b"soc" + account_id


def enactment(policy: str) -> bytes:
    """How the version in force of a policy came into force."""
    return b"soa" + policy.encode()


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


def epoch_start(epoch: int) -> bytes:
    """The height of the block that began an epoch."""
    return EPOCH_START + u64(epoch)


def tree_row(place: bytes) -> bytes:
    """A page of the state tree, or the row over pages: see `ledger.state_pages`."""
    return TREE_ROW + place


def tree_undo(place: bytes, version: int) -> bytes:
    """What a row of the state tree was before a version."""
    return TREE_UNDO + place + u64(version)


def tree_rows(version: int) -> bytes:
    """Which rows a version of the state tree changed."""
    return TREE_ROWS + u64(version)


def tree_version(version: int) -> bytes:
    """The height and the root of a version of the state tree; version e is the state in which epoch e began."""
    return TREE_VERSION + u64(version)


def staged(key: bytes) -> bytes:
    """A key of a snapshot that is being fetched, before it takes the place of what is there."""
    return STAGED + key


def staged_chunk(number: int) -> bytes:
    """That a chunk of the snapshot that is being fetched is complete."""
    return STAGED + CHUNK + number.to_bytes(4, "big")
