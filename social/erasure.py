"""Erasure by the author.  Event: content.PayloadErased.

The text and its salt go from every node and archive; hashes, receipts and proofs stay, and so do likes and answers.
What others copied elsewhere is out of anybody's reach.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger import keyspace
from ledger.erasure import Erasure, read_erasure
from ledger.events import Entry, EventType, Put, View, Write
from ledger.primitives.records import Bytes32, encode_record
from ledger.verdict import Verdict, allow, deny
from social.posts import read_post
from social.profiles import read_profile


@dataclass(frozen=True, slots=True)
class PayloadErased:
    """The author of a post or profile has its text erased."""

    content: Bytes32  # the payload's hash
    subject: Bytes32  # the post, or the author's account for the profile


def subject_is_own(view: View, entry: Entry[PayloadErased]) -> Verdict:
    subject, content = entry.body.subject, entry.body.content
    post = read_post(view, subject)
    if post is not None:
        owner, held = post.author, post.content.hash
    else:
        profile = read_profile(view, subject)
        if profile is None:
            return deny("content.subject_unknown", "No post and no profile has this id.", subject=subject.hex())
        owner, held = subject, profile.content.hash
    if owner != entry.author:
        return deny("content.not_own", "Only its author has a text erased this way.", subject=subject.hex())
    if held != content:
        return deny(
            "content.another_payload", "The post or profile has another payload.",
            content=content.hex(), held=held.hex(),
        )  # fmt: skip
    return allow("content.own", "The author of the text has it erased.")


def is_not_erased(view: View, entry: Entry[PayloadErased]) -> Verdict:
    erased = read_erasure(view, entry.body.content)
    if erased is None:
        return allow("content.held", "The text was not erased before.")
    return deny("content.erased_already", "The text was erased before.", height=erased.height)


def apply_payload_erased(view: View, entry: Entry[PayloadErased]) -> Iterator[Write]:
    """Say that it is erased; whoever keeps the text drops it for that."""
    erasure = Erasure(entry.height, entry.log_index, entry.body.subject)
    yield Put(keyspace.erasure(entry.body.content), encode_record(erasure))


EVENTS = (
    EventType(
        name="content.PayloadErased",
        version=1,
        body=PayloadErased,
        guards=(subject_is_own, is_not_erased),
        apply=apply_payload_erased,
        summary="An author had a text erased.",
        example=PayloadErased(bytes(32), bytes(32)),
        inputs=lambda body: {"content": body.content.hex(), "subject": body.subject.hex()},
    ),
)
