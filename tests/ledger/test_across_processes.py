"""Two processes with other hash seeds, time zones and locales compute the same chain."""

import os
import subprocess
import sys
from pathlib import Path

SCENARIO = Path(__file__).parent / "scenario.py"
ROOT = Path(__file__).parent.parent.parent


def run(folder: Path, **environment: str) -> list[str]:
    command = [sys.executable, str(SCENARIO), str(folder)]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'client-api'}", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=paths | environment)
    return done.stdout.splitlines()


def test_hash_seed_time_zone_and_locale_change_nothing(tmp_path: Path) -> None:
    one = run(tmp_path / "one", PYTHONHASHSEED="1", TZ="Pacific/Kiritimati", LC_ALL="C", LANG="C")
    other = run(tmp_path / "other", PYTHONHASHSEED="4242", TZ="America/St_Johns", LC_ALL="tr_TR.UTF-8", PYTHONUTF8="1")

    assert len(one) == 21
    assert one == other
