"""A validator that is put back from a backup, in a network that went on: it waits, then votes again.

Here the backup lacks no vote, so the answers of the others show nothing: it is the mark alone that makes it wait.
"""

from pathlib import Path

import pytest

from node.backup import restore_backup, write_backup
from node.devnet import Devnet, Member
from node.eras import WINDOW
from node.restored import is_marked
from tests.network.test_crashes import read_status, wait_until

pytestmark = pytest.mark.network

VOTES_AGAIN_S = 120.0


def end(member: Member) -> None:
    assert member.process is not None
    member.process.terminate()
    member.process.wait()


def test_a_restored_validator_votes_only_when_all_that_it_may_have_said_is_over(devnet: Devnet, tmp_path: Path) -> None:
    forgetful, other = devnet.validators[0], devnet.validators[1]
    end(forgetful)
    write_backup(forgetful.folder, tmp_path / "old.backup")
    forgetful.folder.rename(tmp_path / "lost")

    restore_backup(tmp_path / "old.backup", forgetful.folder)
    before = read_status(other)["certified_height"]
    devnet.start(forgetful)
    devnet.wait_ready(forgetful)
    data = forgetful.folder / "data"
    wait_until(lambda: not is_marked(data), VOTES_AGAIN_S, "the restored validator does not vote again")

    assert read_status(forgetful)["certified_height"] >= before + 2 * WINDOW
    assert [path for member in devnet.validators for path in (member.folder / "data" / "evidence").iterdir()] == []
