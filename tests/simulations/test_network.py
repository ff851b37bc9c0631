"""The simulated links: what they lose, repeat and hold back, in one direction at a time."""

from simulations.faults import CALM, Faults
from simulations.network import Network
from simulations.schedule import Schedule


class Links:
    """A network of three, and what came out of it."""

    def __init__(self, faults: Faults = CALM, seed: int = 1) -> None:
        self.schedule = Schedule(seed)
        self.arrived: list[str] = []
        self.lost: list[tuple[int, int, str]] = []
        self.network = Network(self.schedule, 3, faults, lambda source, to, why: self.lost.append((source, to, why)))

    def post(self, source: int, to: int, what: str) -> None:
        self.network.post(source, to, what, lambda: self.arrived.append(what))


def test_a_calm_link_delivers_everything_once() -> None:
    links = Links()

    for number in range(50):
        links.post(0, 1, f"{number}")
    links.schedule.run(100)

    assert sorted(links.arrived, key=int) == [f"{number}" for number in range(50)]
    assert links.lost == []


def test_a_bad_link_loses_repeats_and_overtakes() -> None:
    faults = Faults(
        loss_permille=(200, 200), repeat_permille=(200, 200), reorder_permille=(200, 200), reorder_ms=(50, 100)
    )
    links = Links(faults)

    for number in range(200):
        links.post(0, 1, f"{number}")
        links.schedule.run(10)
    links.schedule.run(1_000)

    assert len(links.lost) > 10
    assert len(links.arrived) > len(set(links.arrived))
    assert [int(each) for each in links.arrived] != sorted(int(each) for each in links.arrived)


def test_a_cut_takes_one_direction_and_cuts_add_up() -> None:
    links = Links()
    links.network.cut(0, 1)
    links.network.cut(0, 1)
    links.network.mend(0, 1)

    links.post(0, 1, "there")
    links.post(1, 0, "back")
    links.schedule.run(100)

    assert links.arrived == ["back"]
    assert links.lost == [(0, 1, "cut there")]


def test_a_clogged_link_holds_frames_up_to_its_bound_until_it_is_released() -> None:
    links = Links(Faults(clog_frames_max=2))
    links.network.clog(0, 1)

    for what in ("a", "b", "c"):
        links.post(0, 1, what)
    links.schedule.run(100)
    before = list(links.arrived)
    links.network.release(0, 1)
    links.schedule.run(100)

    assert before == []
    assert len(links.arrived) == 2
    assert len(links.lost) == 1


def test_healing_mends_the_links_of_the_core_and_no_others() -> None:
    links = Links()
    for pair in ((0, 1), (1, 0), (0, 2)):
        links.network.cut(*pair)
    links.network.heal([0, 1])

    for source, to in ((0, 1), (1, 0), (0, 2)):
        links.post(source, to, f"{source}{to}")
    links.schedule.run(100)

    assert sorted(links.arrived) == ["01", "10"]
