"""Keys of the indexes, a part of `ledger.keyspace`, which everybody imports instead."""

MOVES = b"w"


def u64(number: int) -> bytes:
    """Return a number as 8 bytes that sort as it does."""
    return number.to_bytes(8, "big")


# Indexes: each ends in a log index, and is never changed once written.

FEED = b"if"
BY_TYPE = b"it"
BY_AUTHOR = b"ia"
POSTS_OF = b"ip"
REPLIES_TO = b"ir"
TRANSFERS_OF = b"iw"
IN_COMMUNITY = b"ig"
ON_SUBJECT = b"is"
MODERATED_IN = b"im"
DECISIONS = b"id"
APPEALS = b"iq"


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


def listed(index: bytes, owner: bytes, log_index: int) -> bytes:
    """A place in one of the indexes of communities, moderation and appeals."""
    return index + owner + u64(log_index)


def move_of(account_id: bytes, log_index: int) -> bytes:
    """What an event did to an account's balances: see `ledger.moves`."""
    return MOVES + account_id + u64(log_index)
