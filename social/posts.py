"""Posts and replies.  Events: content.PostPublished, content.ReplyPublished.

The text is the event's payload; the ledger holds its salted hash, and an assessment of it that everyone with the text
can compute again.  A post's id is that of the event that published it.  Version 2 of a post names the community that
it is published in; a reply is where its parent is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar

from guards.assessment import assess
from guards.content import judge_text_length
from ledger import keyspace
from ledger.coherence import Assessment
from ledger.endorsements import COMMENT, endorse
from ledger.events import Endorsement, Entry, EventType, Put, View, Write
from ledger.payloads import ContentRef, Payload, compute_content_ref
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import U64, Bytes32, Length, encode_record
from ledger.roles import PLATFORM
from ledger.sanctions import lock_key, read_sanction
from ledger.spaces import place_writes, read_place
from ledger.state import encode_number, read_number, read_record
from ledger.verdict import Fact, Verdict, allow, deny
from social.communities.records import judge_author_place

TAGS_MAX = 5
TAG_BYTES_MAX = 32
TAG_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")

Tag = Annotated[str, Length(1, TAG_BYTES_MAX)]


@dataclass(frozen=True, slots=True)
class PostPublished:
    """A text of one's own."""

    assessment: Assessment
    content: ContentRef
    tags: Annotated[tuple[Tag, ...], Length(0, TAGS_MAX)]


@dataclass(frozen=True, slots=True)
class PostAddressed:
    """A text of one's own, for everybody or for a community: version 2 of PostPublished."""

    assessment: Assessment
    content: ContentRef
    tags: Annotated[tuple[Tag, ...], Length(0, TAGS_MAX)]
    space: Bytes32 = PLATFORM  # the community; zero for everybody


@dataclass(frozen=True, slots=True)
class ReplyPublished:
    """An answer to a post or to another reply."""

    assessment: Assessment
    content: ContentRef
    parent: Bytes32


@dataclass(frozen=True, slots=True)
class Post:
    """A post or reply as the state keeps it."""

    author: Bytes32
    content: ContentRef
    height: U64
    log_index: U64
    parent: Bytes32 | None
    tags: tuple[str, ...]


Published = TypeVar("Published", PostPublished, PostAddressed, ReplyPublished)
Tagged = TypeVar("Tagged", PostPublished, PostAddressed)


def read_post(view: View, post_id: bytes) -> Post | None:
    """Return a post or reply, or None."""
    return read_record(view, keyspace.post(post_id), Post)


def make_post(payload: Payload, tags: tuple[str, ...], space: bytes = PLATFORM) -> PostAddressed:
    """Return the body of a post with this text, of the newest version.  space: the community; for everybody if none."""
    return PostAddressed(assess(payload.text, tags), compute_content_ref(payload), tags, space)


def make_reply(payload: Payload, parent: bytes) -> ReplyPublished:
    """Return the body of a reply with this text."""
    return ReplyPublished(assess(payload.text, ()), compute_content_ref(payload), parent)


def complete_post(body: PostPublished, payload: Payload) -> PostPublished:
    """Return the body with the assessment of its text."""
    return PostPublished(assess(payload.text, body.tags), body.content, body.tags)


def complete_addressed(body: PostAddressed, payload: Payload) -> PostAddressed:
    """Return the body with the assessment of its text."""
    return PostAddressed(assess(payload.text, body.tags), body.content, body.tags, body.space)


def complete_reply(body: ReplyPublished, payload: Payload) -> ReplyPublished:
    """Return the body with the assessment of its text."""
    return ReplyPublished(assess(payload.text, ()), body.content, body.parent)


def endorse_parent(view: View, entry: Entry[ReplyPublished]) -> Endorsement | None:
    """An answer supports what it answers."""
    return endorse(view, COMMENT, entry.body.parent)


def text_fits(view: View, entry: Entry[Published]) -> Verdict:
    return judge_text_length(entry.body.content)


def tags_are_plain(view: View, entry: Entry[Tagged]) -> Verdict:
    tags = entry.body.tags
    facts: dict[str, Fact] = {"tags": len(tags), "tags_max": TAGS_MAX}
    if any(character not in TAG_CHARACTERS for tag in tags for character in tag):
        return deny("content.tag_invalid", "Tags hold lower-case letters a-z, digits and _ only.", **facts)
    if len(frozenset(tags)) != len(tags):
        return deny("content.tag_repeated", "A tag is given twice.", **facts)
    return allow("content.tags_plain", "The tags are well formed.", **facts)


def parent_exists(view: View, entry: Entry[ReplyPublished]) -> Verdict:
    if view.get(keyspace.post(entry.body.parent)) is not None:
        return allow("content.parent_exists", "The post that is answered exists.")
    return deny("content.parent_unknown", "The post that is answered does not exist.", parent=entry.body.parent.hex())


def author_is_of_space(view: View, entry: Entry[PostAddressed]) -> Verdict:
    return judge_author_place(view, entry.author, entry.body.space)


def author_is_of_parents_space(view: View, entry: Entry[ReplyPublished]) -> Verdict:
    return judge_author_place(view, entry.author, read_place(view, entry.body.parent).space)


def thread_is_open(view: View, entry: Entry[ReplyPublished]) -> Verdict:
    lock = read_sanction(view, lock_key(read_place(view, entry.body.parent).root))
    if lock is None:
        return allow("content.thread_open", "The thread takes answers.")
    return deny("content.thread_locked", "A moderator has locked the thread.", decision=lock.decision.hex())


def apply_post_published(view: View, entry: Entry[PostPublished]) -> Iterator[Write]:
    """Store the post, and count it."""
    yield from _store(view, entry, parent=None, tags=entry.body.tags)


def apply_post_addressed(view: View, entry: Entry[PostAddressed]) -> Iterator[Write]:
    """Store the post, and count it."""
    yield from _store(view, entry, parent=None, tags=entry.body.tags, space=entry.body.space)


def apply_reply_published(view: View, entry: Entry[ReplyPublished]) -> Iterator[Write]:
    """Store the reply, and count it under its parent."""
    parent = entry.body.parent
    yield from _store(view, entry, parent=parent, tags=())
    yield Put(keyspace.reply_count(parent), encode_number(read_number(view, keyspace.reply_count(parent)) + 1))


def _store(
    view: View, entry: Entry[Published], parent: bytes | None, tags: tuple[str, ...], space: bytes = PLATFORM
) -> Iterator[Write]:
    post = Post(entry.author, entry.body.content, entry.height, entry.log_index, parent, tags)
    yield Put(keyspace.post(entry.event_id), encode_record(post))
    yield from place_writes(view, entry.event_id, parent, space)
    count = read_number(view, keyspace.post_count(entry.author)) + 1
    yield Put(keyspace.post_count(entry.author), encode_number(count))


def list_addressed(entry: Entry[PostAddressed]) -> tuple[bytes, ...]:
    """Return where a post is listed: with its author's, in the feed, and in that of its community."""
    space = entry.body.space
    places = (keyspace.post_of(entry.author, entry.log_index), keyspace.in_feed(entry.log_index))
    return places if space == PLATFORM else (*places, keyspace.listed(keyspace.IN_COMMUNITY, space, entry.log_index))


def list_assessment(assessment: Assessment) -> dict[str, Fact]:
    """Return what a receipt shows of an assessment."""
    return {
        "clarity": assessment.clarity, "echo": assessment.echo.hex(), "hate": assessment.hate,
        "logic": assessment.logic, "model": assessment.model, "offensive": assessment.offensive,
        "signal": assessment.signal, "topic": assessment.topic,
    }  # fmt: skip


_EXAMPLE_CONTENT = ContentRef(bytes=12, hash=bytes(32))
_EXAMPLE_ASSESSMENT = Assessment(
    clarity=100, echo=b"\x01\x02\x03", hate=1, logic=100, model=1, offensive=2, signal=100, topic=50
)

EVENTS = (
    EventType(
        name="content.PostPublished",
        version=1,
        body=PostPublished,
        guards=(text_fits, tags_are_plain),
        apply=apply_post_published,
        summary="An account published a post.",
        example=PostPublished(_EXAMPLE_ASSESSMENT, _EXAMPLE_CONTENT, ("programming",)),
        inputs=lambda body: {
            "content": body.content.hash.hex(),
            "bytes": body.content.bytes,
            **list_assessment(body.assessment),
        },
        content=lambda body: body.content,
        weight=SCALE,
        complete=complete_post,
        assessment=lambda body: body.assessment,
        index=lambda entry: (
            keyspace.post_of(entry.author, entry.log_index),
            keyspace.in_feed(entry.log_index),
        ),
    ),
    EventType(
        name="content.PostPublished",
        version=2,
        body=PostAddressed,
        guards=(text_fits, tags_are_plain, author_is_of_space),
        apply=apply_post_addressed,
        summary="An account published a post.",
        example=PostAddressed(_EXAMPLE_ASSESSMENT, _EXAMPLE_CONTENT, ("programming",), bytes(32)),
        inputs=lambda body: {
            "content": body.content.hash.hex(),
            "bytes": body.content.bytes,
            "space": body.space.hex(),
            **list_assessment(body.assessment),
        },
        content=lambda body: body.content,
        weight=SCALE,
        complete=complete_addressed,
        assessment=lambda body: body.assessment,
        index=list_addressed,
    ),
    EventType(
        name="content.ReplyPublished",
        version=1,
        body=ReplyPublished,
        guards=(text_fits, parent_exists, author_is_of_parents_space, thread_is_open),
        apply=apply_reply_published,
        summary="An account published a reply.",
        example=ReplyPublished(_EXAMPLE_ASSESSMENT, _EXAMPLE_CONTENT, bytes(32)),
        inputs=lambda body: {
            "content": body.content.hash.hex(),
            "bytes": body.content.bytes,
            "parent": body.parent.hex(),
            **list_assessment(body.assessment),
        },
        content=lambda body: body.content,
        weight=SCALE // 2,
        complete=complete_reply,
        assessment=lambda body: body.assessment,
        index=lambda entry: (
            keyspace.post_of(entry.author, entry.log_index),
            keyspace.reply_to(entry.body.parent, entry.log_index),
        ),
        endorses=endorse_parent,
    ),
)
