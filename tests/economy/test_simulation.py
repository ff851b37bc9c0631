"""The simulated economy, in small: what the report in docs/economy.md claims holds for any seed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tools.lines import draw_lines

EPOCHS = 12


@pytest.fixture(scope="module")
def economy() -> ModuleType:
    path = Path(__file__).parent.parent.parent / "tools" / "simulate_economy.py"
    spec = importlib.util.spec_from_file_location("simulate_economy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.FARM_AT = 2  # type: ignore[attr-defined]
    return module


def test_a_ring_gets_no_more_than_its_mass_and_a_farm_nothing(economy: ModuleType, tmp_path: Path) -> None:
    rows, digest = economy.simulate(tmp_path / "one", EPOCHS, seed=7)

    assert all(row["conserved"] for row in rows)
    pools = sum(row["chr_pool"] for row in rows)
    mass = sum(row[group]["mass"] for row in rows for group in economy.GROUPS)
    for group in economy.GROUPS:
        of_pools, of_mass = (sum(row[group][name] for row in rows) for name in ("chr", "mass"))
        if group in ("colluding", "spamming"):  # whom nobody else supports
            assert of_pools / pools <= of_mass / mass
            assert economy.compare_with_mass(rows, group)[0] == 0
    assert sum(row["farm"]["chr"] + row["farm"]["flx"] + row["farm"]["mass"] for row in rows) == 0
    assert sum(row["honest"]["chr"] for row in rows) / 40 > sum(row["lazy"]["chr"] for row in rows) / 25 > 0
    assert max(row["supply"]["CHR"] for row in rows) <= 1_007_477 / 0.005
    assert rows[-1]["farm"]["people"] == 40
    assert len(digest) == 32


def test_the_same_seed_gives_the_same_state(economy: ModuleType, tmp_path: Path) -> None:
    digests = [economy.simulate(tmp_path / str(number), 2, seed)[1] for number, seed in enumerate((3, 3, 4))]

    assert digests[0] == digests[1] != digests[2]


def test_a_picture_is_drawn_of_every_line(economy: ModuleType) -> None:
    series = {"CHR": [1.0, 2.0, 4.0], "limit": [4.0] * 3}

    picture = draw_lines("A title", "epoch 1 to 3; tokens", series, economy.COLOURS)

    assert picture.count("<polyline") == 2
    assert "A title" in picture
    assert "epoch 1 to 3; tokens" in picture
