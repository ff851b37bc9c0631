"""Profiles, posts, likes and follows: what each event needs, and what it does."""

from typing import Any

import pytest

from guards.assessment import assess
from ledger import keyspace
from ledger.payloads import TEXT_BYTES_MAX, ContentRef, decode_payload
from ledger.receipts import APPLIED, DENIED, Receipt
from ledger.state import read_number
from social.follows import AccountFollowed, AccountUnfollowed
from social.posts import PostPublished, ReplyPublished, read_post, text_fits
from social.profiles import (
    PROFILE_BYTES_MAX,
    HandleClaimed,
    ProfileUpdated,
    read_handle,
    read_handle_owner,
    read_profile,
)
from social.reactions import ContentLiked, LikeWithdrawn
from tests.ledger.world import World

NOWHERE = bytes(32)


def denied(receipt: Receipt) -> dict[str, dict[str, Any]]:
    assert receipt.outcome == DENIED
    return {verdict.code: dict(verdict.facts) for verdict in receipt.verdicts if not verdict.allowed}


def publish(world: World, text: str = "Hello.") -> bytes:
    receipt = world.do(world.ada, PostPublished, text=text, tags=())
    assert receipt.outcome == APPLIED
    return receipt.event_id


# Posts and replies.


def test_a_post_is_stored_counted_and_in_the_feed(world: World) -> None:
    receipt = world.do(world.ada, PostPublished, text="Grüße, 世界.", tags=("music", "art"))

    state, post = world.state(), read_post(world.state(), receipt.event_id)
    assert post is not None
    assert (post.author, post.tags, post.parent, post.height) == (world.ada.account, ("music", "art"), None, 1)
    assert read_number(state, keyspace.post_count(world.ada.account)) == 1
    assert state.get(keyspace.in_feed(receipt.log_index)) == receipt.event_id
    assert state.get(keyspace.post_of(world.ada.account, receipt.log_index)) == receipt.event_id


def test_the_text_lies_beside_the_ledger_under_its_salted_hash(world: World) -> None:
    post_id = publish(world, "A secret?")

    post = read_post(world.state(), post_id)
    assert post is not None
    payload = world.store.get(keyspace.payload(post.content.hash))
    assert payload is not None
    assert decode_payload(payload).text == "A secret?"


def test_the_text_of_a_denied_post_is_not_kept(world: World) -> None:
    executed = world.execute(world.sign(world.ada, PostPublished, text="No.", tags=("Not Plain",)))

    assert executed.payloads == ()


def test_a_post_needs_text(world: World) -> None:
    receipt = world.do(world.ada, PostPublished, text="", tags=())

    assert denied(receipt) == {"content.text_empty": {"bytes": 0, "bytes_max": TEXT_BYTES_MAX}}


def test_a_text_above_the_limit_is_denied(world: World) -> None:
    class Entry:
        body = PostPublished(assess("x", ()), ContentRef(TEXT_BYTES_MAX + 1, NOWHERE), ())

    verdict = text_fits(world.store, Entry())  # type: ignore[arg-type]

    assert (verdict.allowed, verdict.code) == (False, "content.text_too_long")
    assert verdict.facts == {"bytes": TEXT_BYTES_MAX + 1, "bytes_max": TEXT_BYTES_MAX}


def test_the_longest_text_is_allowed(world: World) -> None:
    receipt = world.do(world.ada, PostPublished, text="x" * TEXT_BYTES_MAX, tags=())

    assert receipt.outcome == APPLIED


@pytest.mark.parametrize("tag", ["Music", "a b", "é", "a-b"])
def test_tags_hold_small_letters_digits_and_underscores(world: World, tag: str) -> None:
    receipt = world.do(world.ada, PostPublished, text="x", tags=(tag,))

    assert denied(receipt) == {"content.tag_invalid": {"tags": 1, "tags_max": 5}}


def test_a_tag_is_given_once(world: World) -> None:
    receipt = world.do(world.ada, PostPublished, text="x", tags=("a", "b", "a"))

    assert denied(receipt) == {"content.tag_repeated": {"tags": 3, "tags_max": 5}}


def test_a_reply_hangs_under_its_parent_and_is_not_in_the_feed(world: World) -> None:
    parent = publish(world)

    reply = world.do(world.ben, ReplyPublished, text="Hello back.", parent=parent)

    state = world.state()
    post = read_post(state, reply.event_id)
    assert post is not None
    assert post.parent == parent
    assert read_number(state, keyspace.reply_count(parent)) == 1
    assert state.get(keyspace.reply_to(parent, reply.log_index)) == reply.event_id
    assert state.get(keyspace.in_feed(reply.log_index)) is None


def test_a_reply_needs_a_parent_that_exists(world: World) -> None:
    receipt = world.do(world.ben, ReplyPublished, text="Hello?", parent=NOWHERE)

    assert denied(receipt) == {"content.parent_unknown": {"parent": NOWHERE.hex()}}


# Handles and profiles.


def test_a_handle_and_its_account_find_each_other(world: World) -> None:
    world.do(world.ada, HandleClaimed, handle="ada_lovelace")

    assert read_handle(world.state(), world.ada.account) == "ada_lovelace"
    assert read_handle_owner(world.state(), "ada_lovelace") == world.ada.account


@pytest.mark.parametrize("handle", ["Ada", "ada!", "adä", "a da", "ada\n"])
def test_a_handle_holds_small_letters_digits_and_underscores(world: World, handle: str) -> None:
    receipt = world.do(world.ada, HandleClaimed, handle=handle)

    assert denied(receipt) == {
        "identity.handle_invalid": {"bytes": len(handle.encode()), "bytes_min": 3, "bytes_max": 24}
    }


@pytest.mark.parametrize(("length", "fits"), [(2, False), (3, True), (24, True), (25, False)])
def test_a_handle_has_3_to_24_characters(world: World, length: int, fits: bool) -> None:
    receipt = world.do(world.ada, HandleClaimed, handle="a" * length)

    assert receipt.outcome == (APPLIED if fits else DENIED)
    assert fits or list(denied(receipt)) == ["identity.handle_length"]


def test_a_handle_is_taken_once(world: World) -> None:
    world.do(world.ada, HandleClaimed, handle="ada")

    receipt = world.do(world.ben, HandleClaimed, handle="ada")

    assert denied(receipt) == {"identity.handle_taken": {"handle": "ada"}}


def test_of_two_claims_in_one_block_the_first_wins(world: World) -> None:
    claims = [world.sign(person, HandleClaimed, handle="ada") for person in (world.ben, world.ada)]

    receipts = world.execute(*claims).receipts

    assert [receipt.outcome for receipt in receipts] == [APPLIED, DENIED]
    assert read_handle_owner(world.state(), "ada") == world.ben.account


def test_an_account_holds_one_handle(world: World) -> None:
    world.do(world.ada, HandleClaimed, handle="ada")

    receipt = world.do(world.ada, HandleClaimed, handle="countess")

    assert denied(receipt) == {"identity.has_handle": {"handle": "ada"}}


def test_a_profile_is_replaced(world: World) -> None:
    world.do(world.ada, ProfileUpdated, text='{"bio":"one"}')
    before = read_profile(world.state(), world.ada.account)

    world.do(world.ada, ProfileUpdated, text='{"bio":"two"}')

    after = read_profile(world.state(), world.ada.account)
    assert before is not None
    assert after is not None
    assert (before.height, after.height) == (1, 2)
    assert before.content != after.content


def test_a_profile_has_a_limit_of_its_own(world: World) -> None:
    receipt = world.do(world.ada, ProfileUpdated, text="x" * (PROFILE_BYTES_MAX + 1))

    facts = {"bytes": PROFILE_BYTES_MAX + 1, "bytes_max": PROFILE_BYTES_MAX}
    assert denied(receipt) == {"content.text_too_long": facts}


# Likes.


def test_a_like_is_counted_and_its_withdrawal_ends_it(world: World) -> None:
    post = publish(world)

    world.do(world.ben, ContentLiked, target=post)
    liked = read_number(world.state(), keyspace.like_count(post))
    world.do(world.ben, LikeWithdrawn, target=post)

    assert liked == 1
    assert read_number(world.state(), keyspace.like_count(post)) == 0
    assert world.state().get(keyspace.like(post, world.ben.account)) is None


def test_a_post_is_liked_once_by_each_account(world: World) -> None:
    post = publish(world)
    world.do(world.ben, ContentLiked, target=post)

    again, other = world.do(world.ben, ContentLiked, target=post), world.do(world.ada, ContentLiked, target=post)

    assert denied(again) == {"graph.liked_already": {}}
    assert other.outcome == APPLIED
    assert read_number(world.state(), keyspace.like_count(post)) == 2


def test_a_withdrawn_like_can_be_given_again(world: World) -> None:
    post = publish(world)

    receipts = [world.do(world.ben, body, target=post) for body in (ContentLiked, LikeWithdrawn, ContentLiked)]

    assert {receipt.outcome for receipt in receipts} == {APPLIED}
    assert read_number(world.state(), keyspace.like_count(post)) == 1


def test_what_does_not_exist_is_not_liked(world: World) -> None:
    receipt = world.do(world.ben, ContentLiked, target=NOWHERE)

    assert denied(receipt) == {"graph.target_unknown": {"target": NOWHERE.hex()}}


def test_a_like_that_was_not_given_is_not_withdrawn(world: World) -> None:
    receipt = world.do(world.ben, LikeWithdrawn, target=publish(world))

    assert denied(receipt) == {"graph.not_liked": {}}


# Follows.


def test_a_follow_is_counted_on_both_sides_and_ends(world: World) -> None:
    def counts() -> tuple[int, int]:
        state = world.state()
        following = read_number(state, keyspace.following_count(world.ada.account))
        return following, read_number(state, keyspace.follower_count(world.ben.account))

    world.do(world.ada, AccountFollowed, target=world.ben.account)
    during = counts()
    world.do(world.ada, AccountUnfollowed, target=world.ben.account)

    assert (during, counts()) == ((1, 1), (0, 0))


def test_nobody_follows_himself(world: World) -> None:
    receipt = world.do(world.ada, AccountFollowed, target=world.ada.account)

    assert denied(receipt) == {"graph.follows_oneself": {}}


def test_an_account_that_does_not_exist_is_not_followed(world: World) -> None:
    receipt = world.do(world.ada, AccountFollowed, target=world.cyd.account)

    assert denied(receipt) == {"graph.account_unknown": {"target": world.cyd.account.hex()}}


def test_an_account_is_followed_once(world: World) -> None:
    world.do(world.ada, AccountFollowed, target=world.ben.account)

    receipt = world.do(world.ada, AccountFollowed, target=world.ben.account)

    assert denied(receipt) == {"graph.followed_already": {}}


def test_a_follow_that_is_not_does_not_end(world: World) -> None:
    receipt = world.do(world.ada, AccountUnfollowed, target=world.ben.account)

    assert denied(receipt) == {"graph.not_followed": {}}
