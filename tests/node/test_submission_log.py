"""The submission log: what clients were told is accepted is there after a kill."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events import SIGNED_EVENT_BYTES_MAX, encode_signed_event
from ledger.identity import IdentityCreated
from node import submission_log
from node.mempool import Accepted
from node.submission_log import SubmissionLog
from social.posts import PostPublished
from tests.ledger.world import World
from tests.node.test_relay import Node

EVENTS = [b"one", b"two" * 100, b"three"]


def open_log(path: Path) -> SubmissionLog:
    return SubmissionLog(path / "submissions.log", 1_000)


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(EVENTS[:2])
    log.append(EVENTS[2:])

    assert open_log(tmp_path).events == EVENTS


@pytest.mark.parametrize("at", range(0, 340, 3))
def test_a_file_cut_anywhere_keeps_all_frames_before(tmp_path: Path, at: int) -> None:
    log = open_log(tmp_path)
    log.append(EVENTS)
    os.truncate(tmp_path / "submissions.log", min(at, log.size_bytes))

    again = open_log(tmp_path)
    again.append([b"later"])

    kept = open_log(tmp_path).events
    assert kept[-1] == b"later"
    assert kept[:-1] == EVENTS[: len(kept) - 1]


@given(st.binary(max_size=200))
def test_any_bytes_give_some_events_and_no_error(data: bytes) -> None:
    events, end = submission_log._read_frames(data, 100)  # pyright: ignore[reportPrivateUsage]

    assert 0 <= end <= len(data)
    assert b"".join(submission_log._encode_frame(event) for event in events) == data[:end]  # pyright: ignore[reportPrivateUsage]


def test_a_rewrite_replaces_everything(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(EVENTS)
    log.rewrite([b"left"])
    log.append([b"new"])

    assert open_log(tmp_path).events == [b"left", b"new"]
    assert not log.needs_rewrite


def test_after_an_append_that_failed_it_asks_to_be_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path)
    write = os.write

    def fail_halfway(descriptor: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:50])

    monkeypatch.setattr(os, "write", fail_halfway)
    with pytest.raises(OSError, match="No space"):
        log.append([b"a" * 130])
    monkeypatch.setattr(os, "write", write)

    assert log.needs_rewrite
    log.rewrite([b"b"])
    assert open_log(tmp_path).events == [b"b"]


async def test_accepted_events_wait_again_after_a_kill(world: World) -> None:
    """The process ended before anything was sent; one event reached the ledger by another way."""
    node, person = Node(world), world.person("ada")
    world.do(person, IdentityCreated)
    events = [world.sign(person, PostPublished, text=f"number {number}", tags=()) for number in range(3)]
    answers = node.relay.submit(events)
    assert all(isinstance(answer, Accepted) for answer in answers)
    world.execute(events[0])

    restarted = Node(world)

    assert restarted.relay.restore() == 2
    waiting = [encode_signed_event(each.signed) for each in restarted.mempool.waiting()]
    assert waiting == [encode_signed_event(each) for each in events[1:]]
    assert restarted.arrivals == 1
    assert Node(world).relay.restore() == 2  # killed once more


async def test_a_log_that_cannot_be_written_refuses_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    node, person = Node(world), world.person("ada")
    world.do(person, IdentityCreated)

    def fail(descriptor: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    event = world.sign(person, PostPublished, text="hello", tags=())
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        assert isinstance(node.relay.submit([event])[0], Accepted)
    later = world.sign(person, PostPublished, text="again", tags=())
    assert isinstance(node.relay.submit([later])[0], Accepted)

    log = SubmissionLog(world.store.path.parent / "submissions.log", SIGNED_EVENT_BYTES_MAX)
    assert log.events == [encode_signed_event(event), encode_signed_event(later)]
