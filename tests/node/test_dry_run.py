"""Dry run: one report on all nodes, of what other values would have changed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.chain import Chain, make_batch, read_stored_block
from ledger.events import SignedEvent
from ledger.policies import PolicyInvalid, compute_policy_id, encode_values, list_active
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.records import encode_record
from ledger.store import Store
from ledger.tokens import ATR, CHR
from node.dry_run import DryRunFailed, run_dry
from node.impact import ImpactReport, compute_kendall
from social.governance.drafts import PolicyDrafted
from social.governance.reports import compute_report_hash
from social.reactions import ContentLiked
from tests.economy.town import EPOCH_BEATS, Town, make_town_genesis
from tests.ledger.world import REGISTRY, id_of

ROOT = Path(__file__).parent.parent.parent
PEOPLE = 6
POLICIES = {"sybil": {"bond": 0, "posts_max": 1_000}}
BLOCKS = 5 * EPOCH_BEATS
DEARER = encode_values("energy", {"base_cost": 10_000 * SCALE})


def make_town(folder: Path) -> Town:
    """Six people write and like for seven epochs."""
    town = Town(folder, PEOPLE, POLICIES)
    posts: list[bytes] = []
    for block in range(7 * EPOCH_BEATS + 2):
        events: list[SignedEvent] = []
        for number, person in enumerate(town.people):
            if (block + number) % 2 and posts:
                events.append(town.sign(person, ContentLiked, target=posts[-1 - (number + block) % min(len(posts), 9)]))
            else:
                events.append(town.post(person, PEOPLE * block + number))
                posts.append(id_of(events[-1]))
        town.beat(*events)
    return town


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = make_town(tmp_path_factory.mktemp("dry") / "ledger")
    yield town
    town.close()


def copy_chain(town: Town, folder: Path) -> Chain:
    """Return another node's chain of the same blocks."""
    chain = Chain(Store(folder), make_town_genesis(PEOPLE, POLICIES), REGISTRY)
    for height in range(1, town.chain.head.height + 1):
        with town.store.snapshot() as snapshot:
            block = read_stored_block(snapshot, height)
        header = town.chain.read_header(height)
        assert block is not None
        assert header is not None
        chain.execute(make_batch(header, chain.head.header, block.items), chain.check_events(block.items))
    return chain


def values_in_force(town: Town, policy: str) -> bytes:
    return next(each.values for each in list_active(town.store) if each.name == policy)


def test_what_is_in_force_already_changes_nothing(town: Town) -> None:
    report = run_dry(town.chain, "energy", values_in_force(town, "energy"), blocks=BLOCKS)

    found = report.findings
    assert (found.accounts, found.flips, found.rank_distance) == (0, 0, 0)
    assert [*found.account_rows, *found.flip_rows, *found.rank_rows] == []
    assert all(each.held for each in found.invariants)
    assert all(each.before == each.after for each in found.tokens)


def test_a_dearer_price_flips_verdicts_and_moves_balances(town: Town) -> None:
    report = run_dry(town.chain, "energy", DEARER, blocks=BLOCKS)

    found = report.findings
    assert found.flips > 0
    # What was not published can't be liked either.
    assert {flip.before for flip in found.flip_rows} == {"applied"}
    assert {flip.after for flip in found.flip_rows} == {"denied ECON_ATR_EXHAUSTED", "denied graph.target_unknown"}
    assert found.accounts >= PEOPLE
    energy = next(each for each in found.tokens if each.token == ATR)
    assert energy.accounts == PEOPLE
    assert energy.after != energy.before
    assert found.account_rows[0].after != found.account_rows[0].before
    differences = [abs(row.after - row.before) for row in found.account_rows]
    assert differences == sorted(differences, reverse=True)
    assert next(each for each in found.tokens if each.token == CHR).accounts > 0  # other items were paid
    assert [each.held for each in found.invariants] == [True, True, True]


def test_other_weights_of_coherence_change_the_order_of_items(town: Town) -> None:
    values = encode_values(
        "coherence",
        {"weight_logic": 0, "weight_signal": 0, "weight_topic": 0, "weight_clarity": SCALE - 32 * SCALE // 100},
    )
    report = run_dry(town.chain, "coherence", values, blocks=BLOCKS)

    found = report.findings
    assert 0 < found.rank_distance <= found.rank_pairs
    assert found.rank_rows


def test_a_report_says_which_replay_it_is_of(town: Town) -> None:
    report = run_dry(town.chain, "energy", DEARER, blocks=BLOCKS)

    head = town.chain.head.header
    base = town.chain.read_header(head.height - report.head.blocks)
    first = town.chain.read_header(head.height - report.head.blocks + 1)
    assert base is not None
    assert first is not None
    assert (report.head.height, report.head.epoch) == (head.height, head.epoch)
    assert report.head.base_digest == base.state_digest
    assert report.head.draft == compute_policy_id("energy", DEARER)
    assert report.findings.state_before == head.state_digest
    assert report.hash == compute_report_hash(report.head)
    assert first.epoch == base.epoch + 1  # the candidate begins with an epoch
    assert BLOCKS <= report.head.blocks < BLOCKS + EPOCH_BEATS


def test_another_candidate_height_or_number_of_blocks_is_another_report(town: Town) -> None:
    height = town.chain.head.height
    cheaper = encode_values("energy", {"base_cost": 9_999 * SCALE})
    reports = [
        run_dry(town.chain, "energy", DEARER, blocks=BLOCKS),
        run_dry(town.chain, "energy", cheaper, blocks=BLOCKS),
        run_dry(town.chain, "energy", DEARER, blocks=BLOCKS + EPOCH_BEATS),
        run_dry(town.chain, "energy", DEARER, blocks=BLOCKS, height=height - 1),
    ]

    assert len({report.hash for report in reports}) == len(reports)


def test_a_candidate_that_was_drafted_in_the_replayed_blocks_is_not_taken_for_voted_in(tmp_path: Path) -> None:
    town = make_town(tmp_path / "ledger")
    cheaper = encode_values("energy", {"base_cost": 900 * SCALE})
    town.execute(town.sign(town.people[0], PolicyDrafted, policy="energy", values=cheaper))
    found = run_dry(town.chain, "energy", cheaper).findings
    town.close()

    assert found.flips == 0
    assert found.accounts > 0


def test_a_chain_that_is_shorter_is_replayed_from_its_genesis(town: Town) -> None:
    report = run_dry(town.chain, "energy", DEARER)

    assert report.head.blocks == town.chain.head.height
    assert report.findings.flips > 0


def test_nodes_that_went_on_make_the_same_report_of_an_earlier_height(tmp_path: Path, town: Town) -> None:
    expected = run_dry(town.chain, "energy", DEARER, blocks=BLOCKS)
    height = town.chain.head.height
    other = copy_chain(town, tmp_path / "other")
    town.pass_epochs(2)

    ahead = run_dry(town.chain, "energy", DEARER, blocks=BLOCKS, height=height)
    behind = run_dry(other, "energy", DEARER, blocks=BLOCKS)
    other.store.close()

    assert ahead == behind == expected
    assert run_dry(town.chain, "energy", DEARER, blocks=BLOCKS).hash != expected.hash


SCRIPT = """
import sys
from pathlib import Path
from tests.node.test_dry_run import BLOCKS, DEARER, make_town
from node.dry_run import run_dry
from node.impact import compute_findings_hash
town = make_town(Path(sys.argv[1]))
for blocks in (BLOCKS, 2_048):
    report = run_dry(town.chain, "energy", DEARER, blocks=blocks)
    assert compute_findings_hash("energy", report.findings) == report.head.findings
    print(report.hash.hex())
"""


def run_process(folder: Path, seed: str) -> list[str]:
    environment = {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'client-api'}", "PYTHONHASHSEED": seed, "PATH": os.environ["PATH"],
    }  # fmt: skip
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()


def test_processes_with_other_hash_seeds_make_one_report(tmp_path: Path) -> None:
    one, other = run_process(tmp_path / "one", "1"), run_process(tmp_path / "other", "4242")

    assert len(set(one)) == 2
    assert one == other


def test_a_dry_run_writes_nothing(town: Town) -> None:
    before = [*town.store.iterate(b"", b"\xff")]
    run_dry(town.chain, "energy", DEARER, blocks=BLOCKS)

    assert [*town.store.iterate(b"", b"\xff")] == before


def test_progress_is_told_block_by_block(town: Town) -> None:
    seen: list[tuple[int, int]] = []
    report = run_dry(town.chain, "energy", DEARER, blocks=BLOCKS, progress=lambda at, of: seen.append((at, of)))

    assert seen == [(number, report.head.blocks) for number in range(1, report.head.blocks + 1)]


def test_what_cannot_be_run_is_named(town: Town) -> None:
    head = town.chain.head.height
    for height in (0, head + 1):
        with pytest.raises(DryRunFailed, match="this node has the heights"):
            run_dry(town.chain, "energy", DEARER, height=height)
    with pytest.raises(DryRunFailed, match="blocks: expected 1 to"):
        run_dry(town.chain, "energy", DEARER, blocks=0)
    with pytest.raises(PolicyInvalid, match="policy energy"):
        run_dry(town.chain, "energy", b"\x80", blocks=BLOCKS)
    with pytest.raises(PolicyInvalid, match="expected one of"):
        run_dry(town.chain, "protocol", DEARER, blocks=BLOCKS)


def test_a_state_that_is_no_longer_known_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.chain.UNDO_BLOCKS", 5)
    town = make_town(tmp_path / "ledger")

    with pytest.raises(DryRunFailed, match="no longer known"):
        run_dry(town.chain, "energy", DEARER, blocks=BLOCKS)
    assert run_dry(town.chain, "energy", DEARER, blocks=2).head.blocks >= 2
    town.close()


def test_a_store_that_was_edited_gives_no_report(tmp_path: Path) -> None:
    from ledger import keyspace

    town = make_town(tmp_path / "ledger")
    key = keyspace.balance(ATR, town.people[0].account)
    town.store.write([(key, b"\x07")], [])

    with pytest.raises(DryRunFailed, match="atlas verify"):
        run_dry(town.chain, "energy", DEARER, blocks=2)
    town.close()


def test_a_report_has_one_canonical_form(town: Town) -> None:
    report = run_dry(town.chain, "energy", DEARER, blocks=BLOCKS)

    assert isinstance(report, ImpactReport)
    assert encode_record(report) == encode_record(run_dry(town.chain, "energy", DEARER, blocks=BLOCKS))


rankings = st.lists(st.binary(min_size=1, max_size=1), unique=True, max_size=20)


@given(rankings, rankings)
def test_kendall_counts_the_pairs_in_another_order(one: list[bytes], other: list[bytes]) -> None:
    before = {item: number for number, item in enumerate(one, 1)}
    after = {item: number for number, item in enumerate(other, 1)}

    distance, pairs = compute_kendall(before, after, 100)

    assert distance == compute_kendall(after, before, 100)[0]
    assert 0 <= distance <= pairs
    assert compute_kendall(before, before, 100)[0] == 0
    if sorted(one) == sorted(other):
        inversions = sum(
            after[one[low]] > after[one[high]] for low in range(len(one)) for high in range(low + 1, len(one))
        )
        assert distance == inversions


def test_only_the_top_of_either_ranking_is_compared() -> None:
    before = {bytes([number]): number for number in range(1, 11)}
    after = before | {bytes([9]): 10, bytes([10]): 9}

    assert compute_kendall(before, after, 3) == (0, 3)
    assert compute_kendall(before, after, 10) == (1, 45)
