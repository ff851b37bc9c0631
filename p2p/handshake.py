"""The first frame on a link, both ways: who speaks, for which chain, in which role, and how far it is.

The noise channel below has proved already that the other side holds the key of its peer id, so HELLO is not signed; it
only has to name the same key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from ledger.primitives.encoding import EncodingError
from ledger.primitives.records import U32, U64, Between, Bytes32, Length, decode_record, encode_record
from p2p.errors import PeerFault
from p2p.versions import Versions
from p2p.wire import FrameKind

HELLO_BYTES_MAX = 1_024


class Role(StrEnum):
    """What a node is to the network.  What it may do follows from its key, not from what it says here."""

    VALIDATOR = "validator"
    OBSERVER = "observer"
    GATEWAY = "gateway"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Hello:
    version_min: U32
    version_max: U32
    chain_id: Annotated[bytes, Length(1, 64)]
    public_key: Bytes32
    role: Annotated[str, Length(1, 16)]
    listen_host: Annotated[str, Length(0, 255)]
    listen_port: Annotated[int, Between(0, 65_535)]
    height: U64
    extension: Annotated[bytes, Length(0, 256)] = b""  # for what later versions want to say; not read by these


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a HELLO comes to: the peer's role, and the version that both will speak."""

    role: Role
    version: int


def encode_hello(hello: Hello) -> bytes:
    """Return HELLO as a frame: its kind byte and its canonical body."""
    return bytes((FrameKind.HELLO,)) + encode_record(hello)


def decode_hello(frame: bytes) -> Hello:
    """Return what a peer's first frame says.  Raises PeerFault when it is not a HELLO."""
    if frame[0] != FrameKind.HELLO or len(frame) > HELLO_BYTES_MAX:
        raise PeerFault("hello_expected", 20, f"expected HELLO first, got kind {frame[0]} of {len(frame)} bytes")
    try:
        return decode_record(Hello, frame[1:])
    except EncodingError as error:
        raise PeerFault("hello_malformed", 20, str(error)) from error


def verify_hello(
    hello: Hello,
    *,
    chain_id: bytes,
    channel_key: bytes,
    admit: Callable[[bytes, Role], bool],
    versions: Versions,
    height: int,
) -> Agreed:
    """Return the peer's role and the version to speak.  Raises PeerFault when no link may be.

    That is a peer of another chain, of another key, not admitted, or without a version in common.  channel_key: the 32
    bytes that the noise handshake has proved.  height: our own.
    """
    if hello.chain_id != chain_id:
        raise PeerFault("wrong_chain", 10, f"expected chain {chain_id.hex()[:16]}…, got {hello.chain_id.hex()[:16]}…")
    if hello.public_key != channel_key:
        detail = f"expected the channel's key {channel_key.hex()[:16]}…, got {hello.public_key.hex()[:16]}…"
        raise PeerFault("wrong_key", 50, detail)
    try:
        role = Role(hello.role)
    except ValueError as error:
        raise PeerFault("unknown_role", 10, f"expected one of {[r.value for r in Role]}, got {hello.role!r}") from error
    if not admit(channel_key, role):
        raise PeerFault("not_admitted", 5, f"{role.value} {channel_key.hex()[:16]}… is not admitted here")
    return Agreed(role, versions.choose(hello.version_min, hello.version_max, height))
