"""Accounts: made once, by the key that they belong to."""

from ledger import keyspace
from ledger.events import Entry
from ledger.identity import Account, IdentityCreated, account_belongs_to_key, read_account, read_nonce
from ledger.receipts import APPLIED, DENIED, SKIPPED
from tests.ledger.world import World, sign_edited


def test_the_first_event_of_a_key_makes_its_account(world: World) -> None:
    receipt = world.do(world.cyd, IdentityCreated)

    assert receipt.outcome == APPLIED
    assert read_account(world.state(), world.cyd.account) == Account(world.cyd.key.public, created_height=1)


def test_genesis_accounts_exist_from_height_0(world: World) -> None:
    assert read_account(world.state(), world.ada.account) == Account(world.ada.key.public, created_height=0)


def test_an_account_is_made_once(world: World) -> None:
    world.do(world.cyd, IdentityCreated)

    again = world.do(world.cyd, IdentityCreated)

    assert again.outcome == DENIED
    assert [verdict.code for verdict in again.verdicts if not verdict.allowed] == ["identity.exists"]


def test_nobody_uses_up_the_nonces_of_an_account_that_another_is_about_to_make(world: World) -> None:
    mine = world.sign(world.ada, IdentityCreated)
    theirs = sign_edited(world, world.ada, mine, author=world.cyd.account, nonce=1)

    stolen = world.execute(theirs).receipts[0]
    own = world.do(world.cyd, IdentityCreated)

    assert (stolen.outcome, stolen.verdicts[0].code) == (SKIPPED, "event.author_not_of_key")
    assert (own.outcome, read_nonce(world.state(), world.cyd.account)) == (APPLIED, 1)


def test_the_guard_knows_the_account_of_a_key(world: World) -> None:
    def judge(account: bytes) -> tuple[bool, str]:
        entry = Entry(
            bytes(32), account, world.cyd.key.public, 1, IdentityCreated(), None, 1, 0, 0, 0, world.chain.chain_id
        )
        verdict = account_belongs_to_key(world.store, entry)
        return verdict.allowed, verdict.code

    assert judge(world.cyd.account) == (True, "identity.belongs_to_key")
    assert judge(world.ada.account) == (False, "identity.of_other_key")


def test_an_account_id_of_another_chain_is_another_id(world: World) -> None:
    assert world.store.get(keyspace.account(world.cyd.account)) is None
    assert world.ada.account != world.ada.key.public
