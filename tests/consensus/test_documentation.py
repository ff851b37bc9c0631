"""docs/consensus.md names tests that exist, one row for each rule of the checklist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "consensus.md").read_text()
NAME = re.compile(r"(?<![\w/.…])[a-z0-9]+(?:_[a-z0-9]+){4,}")


def test_every_rule_has_a_row() -> None:
    rows = re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)

    assert [int(row) for row in rows] == list(range(1, 57))


def test_every_test_that_is_named_exists() -> None:
    folders = [ROOT / "tests" / name for name in ("consensus", "economy", "node", "simulations")]
    sources = [path for folder in folders for path in folder.glob("test_*.py")]
    defined = {name for path in sources for name in re.findall(r"def test_(\w+)\(", path.read_text())}

    named = NAME.findall(TEXT)

    assert len(named) > 60
    assert sorted(set(named) - defined) == []
