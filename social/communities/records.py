"""What the state keeps of a community, its rules and its members, and how it is read."""

from dataclasses import dataclass
from typing import Annotated

from ledger import keyspace
from ledger.events import View
from ledger.payloads import ContentRef
from ledger.primitives.records import U32, U64, Between, Bytes32, Length
from ledger.roles import PLATFORM, read_founder
from ledger.rolls import Roll
from ledger.state import read_record
from ledger.verdict import Verdict, allow, deny

NAME_BYTES_MIN, NAME_BYTES_MAX = 3, 32
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
RESERVED_NAMES = frozenset({"platform"})
RESERVED_START = "evt1"
"""What an id begins with; where a space is named, either is taken."""
RULES_MAX = 32
MODERATORS_MAX = 32
OPEN, APPROVAL = "open", "approval"
JOIN_RULES = (OPEN, APPROVAL)
COMMUNITIES = Roll("c")
"""All communities, archived ones too."""

Name = Annotated[str, Length(NAME_BYTES_MIN, NAME_BYTES_MAX)]
Join = Annotated[str, Length(1, 16)]
RuleNumber = Annotated[int, Between(1, RULES_MAX)]


@dataclass(frozen=True, slots=True)
class Community:
    """A community as the state keeps it; who founded it is under `keyspace.space_founder`."""

    archived: bool
    content: ContentRef  # its description
    height: U64
    join: Join  # one of JOIN_RULES
    moderators: Annotated[tuple[Bytes32, ...], Length(0, MODERATORS_MAX)]  # appointed; each holds the role
    name: Name
    ruleset: U32  # the newest version; 0 while there are no rules


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A version of a community's rules; it stays, so that a decision by it can always be read."""

    beat: U64
    content: ContentRef  # the rules' text, each under its number
    rules: RuleNumber  # how many there are: they are numbered from 1


@dataclass(frozen=True, slots=True)
class Member:
    """That an account is a member."""

    beat: U64  # since
    height: U64


def read_community(view: View, space: bytes) -> Community | None:
    """Return a community, or None."""
    return read_record(view, keyspace.community("c", space), Community)


def read_ruleset(view: View, space: bytes, version: int) -> Ruleset | None:
    """Return a version of a community's rules, or None."""
    return read_record(view, keyspace.community("r", space, keyspace.u64(version)), Ruleset)


def read_member(view: View, space: bytes, account: bytes) -> Member | None:
    """Return an account's membership, or None."""
    return read_record(view, keyspace.community("m", space, account), Member)


def members_of(space: bytes) -> Roll:
    """Return the roll of a community's members."""
    return Roll("m", space)


def requests_of(space: bytes) -> Roll:
    """Return the roll of those who ask to join."""
    return Roll("q", space)


def find_community(view: View, name: str) -> bytes | None:
    """Return the id of the community with this name, or None."""
    return view.get(keyspace.community_name(name))


def judge_open(view: View, space: bytes) -> Verdict:
    """Say whether a community exists and is not archived."""
    community = read_community(view, space)
    if community is None:
        return deny("COMMUNITY_UNKNOWN", "There is no such community.", space=space.hex())
    if community.archived:
        return deny("COMMUNITY_ARCHIVED", "The community is archived: it can be read, and nothing else.")
    return allow("COMMUNITY_OPEN", "The community exists and is open.")


def judge_founder(view: View, space: bytes, account: bytes) -> Verdict:
    """Say whether an account is the founder of a community."""
    if read_founder(view, space) == account:
        return allow("COMMUNITY_FOUNDER", "The account founded the community, or was handed it.")
    return deny("COMMUNITY_NOT_FOUNDER", "Only the founder of the community may do this.", space=space.hex())


def judge_author_place(view: View, author: bytes, space: bytes) -> Verdict:
    """Say whether an account may publish in a space: on the platform everybody, in a community its members."""
    if space == PLATFORM:
        return allow("COMMUNITY_NONE", "The text is for everybody.")
    opened = judge_open(view, space)
    if not opened.allowed:
        return opened
    if read_member(view, space, author) is None:
        return deny("COMMUNITY_NOT_MEMBER", "Only members publish in a community; join it first.", space=space.hex())
    return allow("COMMUNITY_MEMBER", "The author is a member of the community.")
