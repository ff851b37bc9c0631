"""Scripts: what a file says wrongly is refused with what was expected, and each lie is one."""

from pathlib import Path

import pytest

from consensus.authentication import verify_signed
from consensus.errors import InvalidMessage
from consensus.messages import Commit, Prepare, decode_signed, encode_signed
from ledger.block import decode_batch, encode_batch
from node.block_fetch import SourceFault, answer_range, find_named, make_request, open_block, read_answer
from node.event_cache import EventCache
from simulations.acts.sources import ANSWERS, Way
from simulations.byzantine.flood_proposals import FloodProposals
from simulations.byzantine.foreign import Foreign
from simulations.byzantine.repeat import HONEST_FIRST, Repeat, RepeatEvents
from simulations.observations import Sent
from simulations.scenario import Scenario, ScenarioInvalid, load_scenario, make_world
from simulations.world import Load
from tests.consensus.harness import digest_of, make_parameters, make_sign, sign
from tests.ledger.world import World
from tests.simulations.observed import post

CUT = '[[script]]\nact = "cut"\nat_ms = 5\nreplicas = [3]\nfor_ms = 9\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CUT.replace('"cut"', '"cutt"'), r"script\[1\].act: expected one of admit, .*, got 'cutt'"),
        (CUT.replace("for_ms = 9\n", ""), r"script\[1\].for_ms: expected a value, got none"),
        (CUT + "to = 3\n", r"script\[1\].to: expected one of at_ms, for_ms, replicas"),
        (CUT.replace("[3]", "3"), r"script\[1\].replicas: expected a list, got 3"),
        (CUT.replace("[3]", '["a"]'), r"script\[1\].replicas\[0\]: expected a whole number, got 'a'"),
        (CUT.replace("[3]", "[4]"), r"act cut at 5 ms: expected replicas below 4, got \[4\]"),
        (CUT.replace("= 5", "= 99999"), r"act cut: expected at_ms below the 15000 ms of faults, got 99999"),
        ("script = 3", r"script: expected tables, got 3"),
        ("script = [3]", r"script\[1\]: expected a table, got 3"),
        ("[expect]\nviews = 3", r"expect.views: expected \[lowest, highest\], got 3"),
        ("[expect]\nview = 3", r"expect.view: expected one of accused, "),
        ("[expect]\nprogress = 1", r"expect.progress: expected true or false, got 1"),
        ('[expect]\nleft_because = ["bored"]', r"left_because\[0\]: expected one of waited, refused, .*, got 'bored'"),
    ],
)
def test_a_wrong_file_is_told_what_was_expected(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)

    with pytest.raises(ScenarioInvalid, match=rf"wrong\.toml: .*{told}"):
        load_scenario(path)


def test_a_file_is_read_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "right.toml"
    path.write_text(CUT + "[expect]\nviews = [1, 2]\naccused = []\n")

    scenario = load_scenario(path)

    assert [(act.name, act.at_ms, act.get_replicas()) for act in scenario.script] == [("cut", 5, (3,))]
    assert (scenario.expect.views, scenario.expect.accused, scenario.expect.halted) == ((1, 2), (), None)


@pytest.mark.parametrize("way", ANSWERS)
def test_no_lie_about_blocks_is_believed(way: Way) -> None:
    """What is left of each answer is nothing, less than was asked, or a fault of its source."""
    calm = make_world(Scenario("calm", load=Load(events=20, over_ms=2_000)), 1)
    calm.start()
    calm.run(4_000)
    chain, setting = calm.nodes[0].chain, calm.setting
    asked = 4
    answer = ANSWERS[way](chain.chain_id, answer_range(chain, make_request(0, asked)))
    fresh = make_world(Scenario("calm"), 1)
    fresh.start()
    head = fresh.nodes[0].chain.head

    believed = 0
    try:
        blocks = read_answer(answer, 1) if answer is not None else ()
        named = find_named(setting.parameters, blocks)
        cache = EventCache(setting.registry, chain.chain_id)
        for block in blocks[:1]:
            believed += bool(open_block(setting.parameters, block, head, cache, named))
        believed = believed and len(blocks)
    except SourceFault:
        believed = 0

    assert believed < asked
    assert chain.head.height >= asked
    assert believed == (1 if way == "drip" else 0)


def test_signatures_in_the_wrong_place_are_refused() -> None:
    elsewhere = make_sign(1)
    foreign = Foreign(1, make_sign(1), lambda purpose, message: elsewhere(purpose, message)[::-1])
    vote = Sent(0, 1, 0, sign(Prepare(digest_of(b"a"), 1, 3, 0)), None)

    first, *added = foreign(vote)

    assert first == vote
    assert [type(each.signed.message) for each in added] == [Prepare, Commit]
    for each in added:
        with pytest.raises(InvalidMessage, match="signed by replica 1"):
            verify_signed(make_parameters(), each.signed)


@pytest.mark.parametrize("repeat", ["batch", "events", "twice", "in_flight"])
def test_events_are_ordered_again_once(world: World, repeat: Repeat) -> None:
    make = RepeatEvents((repeat,))
    batches = [world.batch(post(world)) for _ in range(HONEST_FIRST + 2)]
    made = [make(encode_batch(batch)) for batch in batches]

    assert made[:HONEST_FIRST] == [None] * HONEST_FIRST
    assert made[-1] is None
    told = decode_batch(made[HONEST_FIRST] or b"")
    own, first, before = batches[HONEST_FIRST].items, batches[0].items, batches[HONEST_FIRST - 1].items
    expected = {"batch": first, "events": first, "twice": (own[0], *own), "in_flight": (*before, *own)}
    assert told.items == expected[repeat]
    assert (told.height == batches[0].height) == (repeat == "batch" or batches[0].height == batches[-1].height)


def test_a_flood_of_proposals_ends_and_is_refused_or_kept_for_later() -> None:
    parameters = make_parameters()
    flood = FloodProposals(1, make_sign(1), 4, parameters.batch_bytes_max, total_max=10, times=6)
    vote = Sent(0, 1, 0, sign(Commit(digest_of(b"a"), 1, 3, 0)), None)

    told = [flood(vote) for _ in range(3)]

    assert [len(each) for each in told] == [7, 5, 1]
    codes: list[str] = []
    for each in told[0][1:]:
        signed, _ = decode_signed(encode_signed(each.signed, each.batch), parameters)
        try:
            verify_signed(parameters, signed)
            codes.append("")
        except InvalidMessage as invalid:
            codes.append(invalid.code)
    assert codes == ["", "", "not_primary", "", "", ""]
