"""The mark of a node that was put back from a backup: its vote log may lack votes that it has cast since.

While the mark is there, the replica takes for granted that it has forgotten votes (`consensus.recall`): it asks the
others what it said, whatever they answer it abstains until all that it may have said is over, and only then votes.
The mark goes when it votes again; a restart before that begins anew.
"""

from pathlib import Path

MARK = "restored"
TEXT = (
    "This node was restored from a backup.  Its votes.log may lack votes that were cast after the backup was made, so\n"
    "the node votes for nothing until all of those are over, then removes this file by itself.  Leave it here.\n"
)


def get_mark_path(data_folder: Path) -> Path:
    """Return where a node's mark lies."""
    return data_folder / MARK


def is_marked(data_folder: Path) -> bool:
    return get_mark_path(data_folder).exists()


def clear_mark(data_folder: Path) -> None:
    """Say that the vote log is whole again.  Need not be durable: a mark that comes back costs only time."""
    get_mark_path(data_folder).unlink(missing_ok=True)
