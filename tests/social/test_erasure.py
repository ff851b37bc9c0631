"""Erasing one's text: who may, what goes, and what stays as it was."""

import shutil
from pathlib import Path

from ledger import keyspace
from ledger.backfill import fill_block, read_content
from ledger.chain import Chain
from ledger.erasure import read_erasure
from ledger.events import CheckedEvent
from ledger.history import Gap, History, encode_history
from ledger.receipts import APPLIED, Receipt
from ledger.store import Store
from node.replay import replay_chain
from social.erasure import PayloadErased
from social.posts import PostPublished, ReplyPublished, read_post
from social.profiles import ProfileUpdated, read_profile
from social.reactions import ContentLiked
from tests.ledger.world import REGISTRY, World
from tests.social.test_social import denied, publish

TEXT = "What I should not have said."


def content_of(world: World, post_id: bytes) -> bytes:
    post = read_post(world.state(), post_id)
    assert post is not None
    return post.content.hash


def erase(world: World, post_id: bytes) -> Receipt:
    return world.do(world.ada, PayloadErased, content=content_of(world, post_id), subject=post_id)


def holds(world: World, text: str) -> bool:
    return any(text.encode() in value for _, value in world.store.iterate(b"", b"\xff"))


def test_the_text_goes_and_everything_else_stays(world: World) -> None:
    post_id = publish(world, TEXT)
    world.do(world.ben, ContentLiked, target=post_id)
    content = content_of(world, post_id)
    before = world.chain.head.height
    assert holds(world, TEXT)

    receipt = erase(world, post_id)

    assert receipt.outcome == APPLIED
    assert not holds(world, TEXT)
    assert world.store.get(keyspace.payload(content)) is None
    post, erased = read_post(world.state(), post_id), read_erasure(world.state(), content)
    assert post == read_post(world.state(before), post_id)
    assert erased is not None
    assert (erased.height, erased.subject) == (receipt.height, post_id)
    assert world.store.get(keyspace.like_count(post_id)) is not None


def test_replay_gives_the_same_chain_and_says_what_was_erased(world: World) -> None:
    post_id = publish(world, TEXT)
    reply = world.do(world.ada, ReplyPublished, text="An answer.", parent=post_id)
    erase(world, post_id)

    replayed = replay_chain(world.store, world.chain.genesis, REGISTRY)

    assert replayed.header_hash == world.chain.head.hash
    assert (replayed.payloads_missing, replayed.payloads_erased) == (1, 1)
    assert content_of(world, reply.event_id) != content_of(world, post_id)


def test_only_its_author_may_and_only_once(world: World) -> None:
    post_id = publish(world, TEXT)
    content = content_of(world, post_id)

    stranger = world.do(world.ben, PayloadErased, content=content, subject=post_id)
    assert set(denied(stranger)) == {"content.not_own"}
    assert set(denied(world.do(world.ada, PayloadErased, content=bytes(32), subject=post_id))) == {
        "content.another_payload"
    }
    unknown = world.do(world.ada, PayloadErased, content=content, subject=bytes(32))
    assert set(denied(unknown)) == {"content.subject_unknown"}
    assert holds(world, TEXT)
    erase(world, post_id)
    assert set(denied(erase(world, post_id))) == {"content.erased_already"}


def test_a_profile_is_erased_too(world: World) -> None:
    world.do(world.ada, ProfileUpdated, text='{"bio": "' + TEXT + '"}')
    profile = read_profile(world.state(), world.ada.account)
    assert profile is not None

    receipt = world.do(world.ada, PayloadErased, content=profile.content.hash, subject=world.ada.account)

    assert receipt.outcome == APPLIED
    assert not holds(world, TEXT)


def test_a_post_and_its_erasure_in_one_block_leave_nothing(world: World) -> None:
    post = world.sign(world.ada, PostPublished, text=TEXT, tags=())
    executed = world.compute(post)
    post_id = executed.receipts[0].event_id
    (checked,) = world.check(post)
    assert isinstance(checked, CheckedEvent)
    content = checked.body.content.hash

    done = world.execute(post, world.sign(world.ada, PayloadErased, content=content, subject=post_id))

    assert [receipt.outcome for receipt in done.receipts] == [APPLIED, APPLIED]
    assert not holds(world, TEXT)


def test_whoever_has_copied_text_and_salt_does_not_bring_it_back(world: World) -> None:
    post_id = publish(world, TEXT)
    erase(world, post_id)

    again = world.do(world.ben, PostPublished, text=TEXT, tags=())  # the tests have one salt

    assert again.outcome == APPLIED
    assert content_of(world, again.event_id) == content_of(world, post_id)
    assert not holds(world, TEXT)


def test_history_that_comes_after_the_state_does_not_bring_it_back(world: World, tmp_path: Path) -> None:
    """Whoever began from a snapshot fetches the post's block later, perhaps from somebody who kept the text."""
    post_id = publish(world, TEXT)
    with world.store.snapshot() as snapshot:
        content = read_content(snapshot, 1)
    assert content is not None
    assert content.items[0].payload is not None
    erase(world, post_id)
    world.close()
    shutil.copytree(world.store.path, tmp_path / "later")
    later = Store(tmp_path / "later")
    chain = Chain(later, world.chain.genesis, REGISTRY)
    later.write([encode_history(History(gaps=(Gap(1, 1),)))], [])
    header = chain.read_header(1)
    assert header is not None

    fill_block(later, header, content, lambda items: chain.check_events(items, certified=True))

    assert later.get(keyspace.payload(content_hash := read_post_content(chain, post_id))) is None
    assert read_erasure(later, content_hash) is not None
    later.close()


def read_post_content(chain: Chain, post_id: bytes) -> bytes:
    post = read_post(chain.store, post_id)
    assert post is not None
    return post.content.hash
