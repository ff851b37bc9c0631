"""Every endpoint's answer has the shape that it declares (`Api.call` checks it), and says what the ledger says."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from client_api.finality import Finality
from client_api.routes import ENDPOINTS
from client_api.shapes import account_text, event_text

from ledger import keyspace
from ledger.events import SignedEvent
from ledger.identity import IdentityCreated
from ledger.primitives.fixed_point import SCALE, parse_decimal
from ledger.primitives.signing import Purpose, signed_digest
from ledger.proofs import ProofInvalid, verify_event_proof
from ledger.tokens import FLX, read_balance
from ledger.transfers import TokensTransferred
from social.follows import AccountFollowed
from social.posts import PostPublished, ReplyPublished
from social.profiles import HandleClaimed, ProfileUpdated
from social.reactions import ContentLiked
from tests.client_api.api import Api, event_json
from tests.ledger.world import RICH, id_of


def post(api: Api, text: str = "Hello.") -> SignedEvent:
    return api.world.sign(api.world.ada, PostPublished, text=text, tags=("music",))


def published(api: Api, text: str = "Hello.") -> str:
    """Have a post executed; return its id."""
    event = post(api, text)
    api.submit(event)
    api.node.execute_waiting()
    return event_text(id_of(event))


def execute_soon(api: Api) -> None:
    """Have what is submitted executed a moment later, as a node does."""

    def start() -> None:
        threading.Timer(0.03, api.node.execute_waiting).start()

    api.node.on_submit = start


# The node.


def test_the_node_is_alive_and_ready(api: Api) -> None:
    for probe in ("live", "ready"):
        assert api.call("getHealth", probe=probe) == {"status": "ok", "height": 0, "height_age_ms": 10}


def test_a_height_that_stands_still_is_not_ready_but_alive(api: Api) -> None:
    api.node.height_age_ms = 5_001

    problem = api.problem("getHealth", probe="ready")

    assert (problem["status"], problem["height"], problem["height_age_ms"]) == (503, 0, 5_001)
    assert api.call("getHealth", probe="live")["status"] == "ok"


def test_a_halted_node_is_not_ready_and_says_why(api: Api) -> None:
    api.node.halted = "the disk is full"

    assert "the disk is full" in api.problem("getHealth", probe="ready")["detail"]
    assert api.call("getNodeStatus")["why_unhealthy"] == "this node stopped voting: the disk is full"


def test_the_card_names_the_chain_and_what_can_be_sent(api: Api) -> None:
    card = api.call("getNode")

    assert card["chain_id"] == api.world.chain.chain_id.hex()
    assert card["limits"]["submit_events_max"] == 100
    assert "content.PostPublished" in card["event_types"]
    assert "infra.BeatStarted" not in card["event_types"]


def test_the_status_counts_what_waits(api: Api) -> None:
    api.submit(post(api))

    status = api.call("getNodeStatus")

    assert (status["mempool_events"], status["healthy"], len(status["peers"])) == (1, True, 2)


def test_the_description_is_served(api: Api) -> None:
    assert api.call("getOpenApi")["openapi"] == "3.1.0"


# Prepare, sign, submit, receipt.


def test_what_was_prepared_can_be_signed_submitted_and_becomes_final(api: Api) -> None:
    key = api.world.ada.key
    asked = {"type": "content.PostPublished", "key": key.public.hex(), "text": "Hi.", "body": {"tags": ["music"]}}

    prepared = api.call("prepareEvent", asked)
    event = bytes.fromhex(prepared["event"])
    signed = SignedEvent(
        event, bytes.fromhex(prepared["payload"]), key.sign(api.world.chain.chain_id, Purpose.EVENT, event)
    )
    submitted = api.submit(signed)
    pending = api.call("getReceipt", event_id=prepared["event_id"])
    api.node.execute_waiting()
    final = api.call("getReceipt", event_id=prepared["event_id"])

    assert (prepared["would"], prepared["nonce"]) == ("applied", 1)
    assert "published a post" in prepared["readable"]
    accepted = {"event_id": prepared["event_id"], "status": "accepted", "receipt": None, "verdict": None}
    assert submitted["results"] == [accepted]
    assert (pending["status"], final["status"], final["receipt"]["outcome"]) == ("pending", "final", "applied")


def test_preparing_says_what_the_guards_would_say_and_writes_nothing(api: Api) -> None:
    body = {"atoms": str(2 * RICH), "to": account_text(api.world.ben.account), "token": "FLX"}
    key = api.world.ada.key.public.hex()

    prepared = api.call("prepareEvent", {"type": "economics.TokensTransferred", "key": key, "body": body})

    assert prepared["would"] == "denied"
    assert [guard["code"] for guard in prepared["guards"] if not guard["allowed"]] == ["tokens.overdraft"]
    assert prepared["guards"][3]["facts"] == {"balance_atoms": str(RICH), "amount_atoms": str(2 * RICH)}
    assert api.call("getHead")["header"]["height"] == 0


def test_a_prepared_digest_is_what_is_signed(api: Api) -> None:
    asked = {"type": "identity.IdentityCreated", "key": api.world.cyd.key.public.hex()}

    prepared = api.call("prepareEvent", asked)

    event = bytes.fromhex(prepared["event"])
    assert prepared["digest"] == signed_digest(api.world.chain.chain_id, Purpose.EVENT, event).hex()
    assert prepared["author"] == account_text(api.world.cyd.account)


def test_waiting_for_finality_gives_the_receipts(api: Api) -> None:
    execute_soon(api)
    events = [post(api, str(number)) for number in range(3)]

    results = api.submit(*events, wait=True)["results"]

    assert [result["status"] for result in results] == ["final"] * 3
    assert [result["receipt"]["log_index"] for result in results] == [0, 1, 2]


def test_the_same_event_twice_in_one_request_is_executed_once(api: Api) -> None:
    execute_soon(api)
    event = post(api)

    results = api.submit(event, event, wait=True)["results"]

    assert results[0] == results[1]
    assert results[0]["receipt"]["log_index"] == 0


def test_an_event_that_was_executed_is_answered_with_its_receipt_for_ever(api: Api) -> None:
    event = post(api)
    api.submit(event)
    api.node.execute_waiting()

    again = api.submit(event)["results"][0]

    assert (again["status"], again["receipt"]["height"]) == ("final", 1)


def test_of_many_events_each_gets_its_own_answer(api: Api) -> None:
    good, forged = post(api), replace(post(api), signature=bytes(64))

    results = api.submit(good, forged)["results"]

    assert [result["status"] for result in results] == ["accepted", "refused"]
    assert results[1]["verdict"]["code"] == "event.signature_invalid"


def test_a_denied_event_is_final_with_its_reasons(api: Api) -> None:
    overdraft = api.world.sign(
        api.world.ada, TokensTransferred, atoms=RICH + 1, to=api.world.ben.account, token=FLX
    )  # fmt: skip
    execute_soon(api)

    result = api.submit(overdraft, wait=True)["results"][0]

    assert (result["status"], result["receipt"]["outcome"]) == ("final", "denied")
    assert result["receipt"]["explanation"] == "The balance does not cover the amount."


def test_what_takes_too_long_is_not_final_yet_and_stays(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client_api.gateway.FINAL_WAIT_S", 0.05)
    event = post(api)

    problem = api.problem("submitEvents", {"events": [event_json(event)]}, wait="final")

    assert (problem["status"], problem["event_id"]) == (504, event_text(id_of(event)))
    assert api.call("getReceipt", event_id=problem["event_id"])["status"] == "pending"


def test_of_many_that_take_too_long_each_is_accepted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client_api.gateway.FINAL_WAIT_S", 0.05)

    results = api.submit(post(api, "One."), post(api, "Two."), wait=True)["results"]

    assert [result["status"] for result in results] == ["accepted", "accepted"]


def test_an_accepted_event_that_loses_its_nonce_is_refused_and_says_so(api: Api) -> None:
    mine = post(api, "Mine.")
    rival = api.world.sign(api.world.ada, PostPublished, text="Rival.", tags=(), nonce=1)
    api.submit(mine)

    api.node.execute([rival], api.world.check(rival))

    answer = api.call("getReceipt", event_id=event_text(id_of(mine)))
    assert (answer["status"], answer["verdict"]["code"]) == ("refused", "event.nonce_used")


def test_a_skipped_event_that_still_waits_is_pending(api: Api) -> None:
    first, second = post(api, "One."), post(api, "Two.")
    api.submit(second)

    api.node.execute([second], api.world.check(second))
    early = api.call("getReceipt", event_id=event_text(id_of(second)))
    api.submit(first)
    api.node.execute_waiting()
    final = api.call("getReceipt", event_id=event_text(id_of(second)))

    assert (early["status"], early["receipt"]) == ("pending", None)
    assert (final["status"], final["receipt"]["outcome"]) == ("final", "applied")


def test_who_waits_is_not_told_of_a_skipped_copy(api: Api) -> None:
    first, second = post(api, "One."), post(api, "Two.")
    api.submit(first)

    def skip_then_execute() -> None:
        api.node.execute([second], api.world.check(second))
        api.node.execute_waiting()

    api.node.on_submit = lambda: threading.Timer(0.03, skip_then_execute).start()

    result = api.submit(second, wait=True)["results"][0]

    assert (result["receipt"]["outcome"], result["receipt"]["height"]) == ("applied", 2)


def test_nobody_stays_in_the_list_of_who_waits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Finality] = []
    forget = Finality.forget

    def remember(self: Finality, *arguments: Any) -> None:
        kept.append(self)
        forget(self, *arguments)

    monkeypatch.setattr(Finality, "forget", remember)
    monkeypatch.setattr("client_api.gateway.FINAL_WAIT_S", 0.05)
    event = post(api)

    api.submit(event, event, replace(post(api), signature=bytes(64)), wait=True)

    assert kept[0]._count == 0
    assert kept[0]._waiters == {}


def test_a_node_that_is_busy_says_when_to_try_again(api: Api) -> None:
    api.node.busy = True

    answer = api.try_call("submitEvents", {"events": [event_json(post(api))]})

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


# People.


def test_the_feed_shows_posts_newest_first(api: Api) -> None:
    ids = [published(api, text) for text in ("One.", "Two.")]

    feed = api.call("getFeed")

    assert [item["post_id"] for item in feed["items"]] == ids[::-1]
    assert [item["text"] for item in feed["items"]] == ["Two.", "One."]
    assert (feed["next"], feed["prev"]) == (None, None)


def test_a_post_counts_its_likes_and_replies(api: Api) -> None:
    world, post_id = api.world, published(api)
    target = api.node.chain.read_block(1)
    assert target is not None
    event_id = id_of(target.items[0])
    api.submit(
        world.sign(world.ben, ContentLiked, target=event_id),
        world.sign(world.ben, ReplyPublished, text="Yes.", parent=event_id),
    )
    api.node.execute_waiting()

    found = api.call("getPost", post_id=post_id)["post"]
    replies = api.call("listReplies", post_id=post_id)["items"]

    assert (found["likes"], found["replies"], found["tags"]) == (1, 1, ["music"])
    assert [(reply["text"], reply["parent"]) for reply in replies] == [("Yes.", post_id)]


def test_an_erased_text_is_null_and_its_hash_stays(api: Api) -> None:
    post_id = published(api)
    content = api.call("getPost", post_id=post_id)["post"]["content"]
    api.world.store.write([], [keyspace.payload(bytes.fromhex(content))])

    erased = api.call("getPost", post_id=post_id)["post"]
    event = api.call("getEvent", event_id=post_id)

    assert (erased["text"], erased["content"]) == (None, content)
    assert (event["payload"], event["payload_erased"]) == (None, True)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"display_name":"Ada","bio":"Numbers."}', ("Ada", "Numbers.")),
        ('{"display_name":5,"bio":"Numbers.","more":"x"}', (None, "Numbers.")),
        ("just words", (None, "just words")),
        ("[1]", (None, "[1]")),
    ],
)
def test_a_profile_shows_what_its_text_says(api: Api, text: str, shown: tuple[str | None, str | None]) -> None:
    world = api.world
    api.submit(
        world.sign(world.ada, HandleClaimed, handle="ada"),
        world.sign(world.ada, ProfileUpdated, text=text),
        world.sign(world.ada, AccountFollowed, target=world.ben.account),
    )
    api.node.execute_waiting()

    profile = api.call("getProfile", account="ada")

    assert (profile["display_name"], profile["bio"]) == shown
    assert (profile["handle"], profile["nonce"], profile["following"]) == ("ada", 3, 1)
    assert api.call("getProfile", account="@ada") == profile
    assert api.call("getProfile", account=account_text(world.ada.account)) == profile


def test_the_balance_of_who_was_idle_is_shown_as_it_decayed(api: Api) -> None:
    world, account = api.world, account_text(api.world.ada.account)
    while world.chain.head.header.epoch < 2:
        world.execute(beat=True)

    shown = parse_decimal(api.call("getBalances", account=account)["balances"]["FLX"])

    assert read_balance(world.store, FLX, world.ada.account) == 1_000 * SCALE  # nothing was written
    assert shown == 100 * SCALE + 900 * SCALE * 99 * 99 // 100 // 100


def test_balances_are_decimal_texts(api: Api) -> None:
    balances = api.call("getBalances", account=account_text(api.world.ada.account))["balances"]

    assert balances == dict.fromkeys(("CHR", "NOD", "PSI", "RES"), "0.000000000000000000") | {
        "ATR": "100000.000000000000000000",
        "FLX": "1000.000000000000000000",
    }


def test_an_account_lists_its_posts(api: Api) -> None:
    post_id = published(api)

    listed = api.call("listPostsOf", account=account_text(api.world.ada.account))

    assert [item["post_id"] for item in listed["items"]] == [post_id]
    assert api.call("listPostsOf", account=account_text(api.world.ben.account))["items"] == []


# The ledger.


def test_the_head_is_the_newest_block(api: Api) -> None:
    published(api)

    head = api.call("getHead")

    assert head["header"]["height"] == 1
    assert head["ledger"]["header_hash"] == api.world.chain.head.hash.hex()


def test_a_block_names_its_events(api: Api) -> None:
    post_id = published(api)

    block, genesis = api.call("getBlock", height=1), api.call("getBlock", height=0)

    assert (block["events"], block["certificate"]) == ([post_id], None)
    assert (genesis["events"], genesis["header"]["proposer"]) == ([], None)


def test_an_event_shows_all_that_was_said_of_it(api: Api) -> None:
    post_id = published(api)

    event = api.call("getEvent", event_id=post_id)

    assert event["receipt"]["outcome"] == "applied"
    assert event["signed"]["fields"]["author"] == account_text(api.world.ada.account)
    assert event["signed"]["body"]["tags"] == ["music"]
    assert [verdict["code"] for verdict in event["receipt"]["verdicts"]] == [
        "content.text_fits",
        "content.tags_plain",
        "CONSTITUTION_HELD",
        "ECON_WITHIN_LIMITS",
        "SAFETY_VISIBLE",
        "SYBIL_CLEAR",
        "AEGIS_CLEAR",
    ]


@pytest.mark.parametrize("junk", [b"junk", b"\x80"])
def test_a_malformed_event_that_a_primary_forced_in_can_be_looked_at(api: Api, junk: bytes) -> None:
    malformed = SignedEvent(junk, None, bytes(64))
    api.node.execute([malformed], api.world.check(malformed))

    event = api.call("getEvent", event_id=event_text(id_of(malformed)))

    assert event["signed"] == {"event": junk.hex(), "signature": bytes(64).hex(), "fields": None, "body": None}
    assert event["receipt"]["outcome"] == "skipped"
    assert len(api.call("listEvents")["items"]) == 1


def test_a_beat_has_no_signature_to_show(api: Api) -> None:
    receipt = api.node.execute([], [], beat=True)[0]

    assert api.call("getEvent", event_id=event_text(receipt.event_id))["signed"] is None


def test_a_proof_is_the_file_that_anyone_can_check(api: Api) -> None:
    post_id = published(api)
    api.world.chain.write_certificate(1, b"signed")

    proof = api.try_call("getProof", event_id=post_id).body
    api.call("getProof", event_id=post_id)

    proven = verify_event_proof(proof, api.world.chain.genesis, lambda *given: None)
    assert event_text(proven.event_id) == post_id
    with pytest.raises(ProofInvalid):
        verify_event_proof(proof[:-1], api.world.chain.genesis, lambda *given: None)


def test_a_proof_waits_for_the_certificate(api: Api) -> None:
    assert api.problem("getProof", event_id=published(api))["status"] == 409


def test_events_are_filtered(api: Api) -> None:
    world = api.world
    denied = world.sign(world.ben, TokensTransferred, atoms=RICH, to=world.ada.account, token=FLX)
    api.submit(post(api), denied, world.sign(world.cyd, IdentityCreated))
    api.node.execute_waiting(beat=True)
    published(api)

    def types(**query: object) -> list[str]:
        return [item["event_type"].partition(".")[2] for item in api.call("listEvents", **query)["items"]]

    everything = ["PostPublished", "IdentityCreated", "TokensTransferred", "PostPublished", "BeatStarted"]
    assert types() == everything
    assert types(type="content.PostPublished") == ["PostPublished"] * 2
    assert types(module="economics") == ["TokensTransferred"]
    assert types(outcome="denied") == ["TokensTransferred"]
    assert types(author=account_text(world.cyd.account)) == ["IdentityCreated"]
    assert types(from_height=2) == ["PostPublished"]
    assert types(to_height=1) == everything[1:]
    assert types(type="content.PostPublished", author=account_text(world.ben.account)) == []
    assert types(at=0) == []


# Reads at a height.


def test_a_pinned_read_says_what_was_so_then(api: Api) -> None:
    world, post_id = api.world, published(api)
    account = account_text(world.ada.account)
    api.submit(world.sign(world.ada, TokensTransferred, atoms=RICH, to=world.ben.account, token=FLX))
    api.node.execute_waiting()

    def pinned(height: int) -> list[Any]:
        return [
            api.call("getBalances", account=account, at=height)["balances"]["FLX"],
            api.call("getProfile", account=account, at=height)["nonce"],
            len(api.call("getFeed", at=height)["items"]),
        ]

    assert [pinned(height) for height in range(3)] == [
        ["1000.000000000000000000", 0, 0],
        ["1000.000000000000000000", 1, 1],
        ["0.000000000000000000", 2, 1],
    ]
    assert api.problem("getPost", post_id=post_id, at=0)["status"] == 404
    assert api.call("getPost", post_id=post_id, at=1)["ledger"]["height"] == 1


def test_a_pinned_read_gives_the_same_bytes_for_ever(api: Api) -> None:
    published(api)
    before = api.try_call("getFeed", at=1).body

    published(api, "Later.")

    assert api.try_call("getFeed", at=1).body == before


BESIDE = (
    "test_communities.py",
    "test_endpoints.py",
    "test_rules.py",
    "test_state_facts.py",
    "test_validator_set.py",
    "test_wallets.py",
    "../archive/test_catalogue.py",
)


def test_every_operation_is_called_here_or_beside() -> None:
    source = "".join((Path(__file__).parent / name).read_text() for name in BESIDE)

    missing = [each.operation for each in ENDPOINTS if f'"{each.operation}"' not in source]
    assert missing == []
