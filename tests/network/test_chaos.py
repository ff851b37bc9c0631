"""Eight faults over four real nodes under load: a short `make chaos`, as a program, as a person would start it."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.network


def test_eight_faults_under_load_lose_nothing_and_leave_one_chain(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.chaos", "--faults", "8", "--seed", "17", "--port", "9880"]

    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "chaos"), "--json"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr.decode()
    found = orjson.loads(done.stdout)
    assert sum(found["faults"].values()) == 8
    assert len(set(found["events"].values())) == 1, "every node has the same events"
    assert found["book"]["applied"] > 100, "there was load"
    assert done.stderr.decode().startswith("seed 17\n"), "the seed comes first"
