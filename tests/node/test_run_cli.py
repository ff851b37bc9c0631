"""`atlas run`: a node that can't run says why in a sentence; a traceback is for bugs alone."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.store import Store
from node.cli.operate import find_cause
from node.devnet import PASSPHRASE, Devnet, Member

DISK_BYTES = 512


@pytest.fixture
def validator(tmp_path: Path) -> Member:
    network = Devnet(tmp_path, 27_000)
    network.prepare()
    return network.validators[0]


def run(member: Member, file_bytes_max: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[bytes]:
    """Start a node that can't run, and wait until it has ended."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))

    return subprocess.run(
        [sys.executable, "-m", "node.cli.main", "run", str(member.folder)],
        env={**os.environ, "ATLAS_PASSPHRASE": PASSPHRASE},
        capture_output=True,
        check=False,
        timeout=60,
        preexec_fn=limit,
    )


def test_a_folder_that_another_node_uses_is_named(validator: Member) -> None:
    store = Store(validator.folder / "data" / "ledger")

    ended = run(validator)

    store.close()
    assert ended.returncode == 1
    assert b"stop it first" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_damaged_vote_log_is_named(validator: Member) -> None:
    (validator.folder / "data" / "votes.log").write_bytes(b"not a vote log")

    ended = run(validator)

    assert ended.returncode == 1
    assert b"votes.log: at byte 0" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_full_disk_ends_the_node_with_its_reason(validator: Member) -> None:
    ended = run(validator, DISK_BYTES)

    assert ended.returncode == 1
    assert b"the node stopped" in ended.stderr
    assert b"File too large" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_bug_keeps_all_its_traces() -> None:
    group = ExceptionGroup("nursery", [ExceptionGroup("inner", [OSError("full"), AssertionError("a bug")])])

    assert find_cause(group) is group
