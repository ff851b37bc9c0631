"""A primary that leaves out one account, in a whole network: the bound in blocks, the view, and the reason."""

import logging

import pytest

from ledger.primitives.ids import compute_account_id
from node.eras import WINDOW
from node.fairness import DELAY_MS, FORCED_INCLUSION_BLOCKS, FORWARD_AFTER_BLOCKS
from node.mempool import Accepted
from simulations.byzantine.censor import CensoringMempool
from simulations.observations import BlockMade, Observation
from simulations.scaling import Sender
from simulations.setting import Timing, make_account_key
from simulations.world import Load, World

PATIENT = Timing(view_timeout_ms=60_000, view_timeout_ms_max=120_000)
"""The request timer must not be what ends the censor's view."""
LOAD = Load(accounts=1, newcomers=0, events=0, careless_events=0)
EVENT_GAP_MS = 20


class Town:
    """Account 0 pays all the time; the victim does once, and is left out by replica 0."""

    def __init__(self, *, is_censored: bool, timing: Timing = PATIENT) -> None:
        self.world = World(5, timing=timing, load=LOAD)
        self.victim = Sender(self.world, number=1)
        self.payer = Sender(self.world)
        if is_censored:
            account = compute_account_id(self.world.setting.chain_id, make_account_key(1).public)
            self.world.nodes[0].make_mempool = lambda: CensoringMempool(account)
            self.world.nodes[0].behaviour = lambda sent: [sent]
        self.made_ms: dict[int, int] = {}  # height -> when at replica 1
        self.world.observe(self._observe)
        self.world.start()
        self._pay()

    def _observe(self, observation: Observation) -> None:
        if isinstance(observation, BlockMade) and observation.replica == 1:
            self.made_ms[observation.executed.header.height] = observation.at_ms

    def _pay(self) -> None:
        self.payer.send(self.world.nodes[2])
        self.world.schedule.after(EVENT_GAP_MS, self._pay)

    def include_victim(self, within_ms: int) -> tuple[int, int]:
        """Return the height at which it could have been first, and the height at which it was."""
        self.world.run(500)
        first = self.world.nodes[1].chain.head.height + 1
        event_id, answer = self.victim.send(self.world.nodes[1])
        assert isinstance(answer, Accepted)
        executed = self.world.executed
        assert self.world.run_until(lambda: all(event_id in executed[number] for number in (1, 2, 3)), within_ms)
        heights = {executed[number][event_id] for number in (1, 2, 3)}
        assert len(heights) == 1
        return first, heights.pop()


def test_a_censored_event_is_included_within_the_bound_by_the_next_primary(caplog: pytest.LogCaptureFixture) -> None:
    town = Town(is_censored=True)

    with caplog.at_level(logging.WARNING, "node.consensus_core"):
        first, included = town.include_victim(within_ms=20_000)

    within_delay = max(
        sum(at_ms <= made_ms <= at_ms + DELAY_MS + 100 for made_ms in town.made_ms.values())
        for at_ms in town.made_ms.values()
    )
    assert FORCED_INCLUSION_BLOCKS < included - first <= FORCED_INCLUSION_BLOCKS + within_delay + WINDOW
    assert {town.world.nodes[number].core.replica.view for number in (1, 2, 3)} == {1}
    refusals = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert len(refusals) >= 2  # f + 1 of them take the others along
    for refusal in refusals:
        assert "in view 0 refused: leaves out event" in refusal
        assert f"of {town.victim.author.hex()[:16]}, nonce 1, which could be included from place {first} on" in refusal


def test_the_timer_of_the_oldest_request_ends_a_slow_censor_sooner(caplog: pytest.LogCaptureFixture) -> None:
    town = Town(is_censored=True, timing=Timing(view_timeout_ms=300))

    with caplog.at_level(logging.WARNING, "node.consensus_core"):
        first, included = town.include_victim(within_ms=5_000)

    assert included - first <= FORCED_INCLUSION_BLOCKS + WINDOW
    assert {town.world.nodes[number].core.replica.view for number in (1, 2, 3)} == {1}
    assert [record for record in caplog.records if "leaves out" in record.getMessage()] == []


def test_a_correct_primary_includes_it_at_once() -> None:
    town = Town(is_censored=False)

    first, included = town.include_victim(within_ms=5_000)
    town.world.run(3_000)

    assert included - first <= WINDOW
    assert {node.core.replica.view for node in town.world.nodes} == {0}


def test_backups_pass_on_what_never_reached_a_correct_primary() -> None:
    town = Town(is_censored=False)
    town.world.network.cut(1, 0)  # where the victim's event is submitted, and the primary

    first, included = town.include_victim(within_ms=20_000)
    town.world.run(3_000)

    assert 0 < included - first <= FORWARD_AFTER_BLOCKS + WINDOW
    assert {town.world.nodes[number].core.replica.view for number in (0, 2, 3)} == {0}
