"""Two processes with other hash seeds, time zones and locales write the same database."""

import os
import subprocess
import sys
from pathlib import Path

from ledger import keyspace
from ledger.receipts import APPLIED, DENIED, SKIPPED, decode_receipt
from ledger.store import Store
from tests.ledger.scenario import BLOCKS

SCENARIO = Path(__file__).parent / "scenario.py"
ROOT = Path(__file__).parent.parent.parent


def run(folder: Path, **environment: str) -> list[str]:
    command = [sys.executable, str(SCENARIO), str(folder)]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'client-api'}", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=paths | environment)
    return done.stdout.splitlines()


def read_all(folder: Path) -> list[tuple[bytes, bytes]]:
    """Return every key and value of a database, in key order."""
    store = Store(folder)
    found = list(store.iterate(b"", b"\xff"))
    store.close()
    return found


def test_hash_seed_time_zone_and_locale_change_not_one_byte(tmp_path: Path) -> None:
    one = run(tmp_path / "one", PYTHONHASHSEED="1", TZ="Pacific/Kiritimati", LC_ALL="C", LANG="C")
    other = run(tmp_path / "other", PYTHONHASHSEED="4242", TZ="America/St_Johns", LC_ALL="tr_TR.UTF-8", PYTHONUTF8="1")

    assert len(one) == 1 + BLOCKS
    assert one == other
    database = read_all(tmp_path / "one")
    assert database == read_all(tmp_path / "other")
    receipts = [decode_receipt(value) for key, value in database if key[:1] == keyspace.RECEIPT]
    assert {receipt.outcome for receipt in receipts} == {APPLIED, DENIED, SKIPPED}
    types = {receipt.event_type for receipt in receipts}
    assert {"economics.RewardPaid", "economics.RewardAccrued", "economics.EmissionEpochClosed"} <= types
