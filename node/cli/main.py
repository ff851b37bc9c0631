"""`atlas`: the command line of a node and of the people who use one."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ledger.archive.collection import ArchiveIncomplete
from ledger.archive.layout import SegmentDamaged
from ledger.archive.tally import ChainBroken
from ledger.explanation import NotExplained
from ledger.genesis import GenesisInvalid
from ledger.primitives.ids import IdInvalid
from ledger.proofs import ProofInvalid, ProofUnavailable
from ledger.storage import StoreDamaged, StoreLocked
from node.api_client import ApiProblem, NodeUnreachable
from node.archive_store import ArchiveUnreachable
from node.archive_writer import ArchiveDiffers, BlocksMissing
from node.backup import BackupFailed
from node.block_fetch import ReplayDiffers
from node.cli import (
    archive,
    audit,
    backup,
    communities,
    explain,
    export,
    governance,
    nodes,
    operate,
    people,
    policy,
    verify,
)
from node.cli.audit import NobodyThere
from node.cli.home import UsageError
from node.cli.operate import NodeStopped
from node.cli.output import Output
from node.config import ConfigInvalid
from node.dry_run import DryRunFailed
from node.keystore import KeystoreError
from node.replay import ReplayFailed
from node.vote_log import VoteLogCorrupt

EXAMPLES = """\
start here:
  atlas devnet                     four validators and a gateway on this machine, with real posts
  atlas feed                       the newest posts
  atlas post "Hello" --as ada      sign and publish, and wait until it is final
  atlas proof evt1… -o hello.proof write a proof that anyone can check offline
  atlas verify hello.proof         check it against the genesis validators
  atlas export wallet ada          all changes of a wallet, signed, as JSON and CSV; `atlas verify` checks both
  atlas audit join genesis.json …  verify all that a network ever did, as a read-only peer
  atlas archive --help             keep cold epochs outside the node, and check them

decide together:
  atlas governance --help          how a policy is changed, step by step
  atlas governance list            what is voted on

live together:
  atlas community --help           communities, their moderators, and how a decision is contested

keep a node safe:
  atlas doctor FOLDER              what is wrong with a node, and what to do; changes nothing
  atlas backup FOLDER -o FILE      all of a stopped node in one file
  atlas restore FILE FOLDER        put it back; read what it says about votes and keys

Every command takes --json for programs and --help for its own options.
"""

Command = Callable[[argparse.Namespace, Output], int]


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print one JSON document for programs")
    parser = argparse.ArgumentParser(
        prog="atlas",
        description="A peer-to-peer social network with one provable ledger.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands: Any = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    operate.add_commands(commands, shared)
    backup.add_commands(commands, shared)
    nodes.add_commands(commands, shared)
    people.add_commands(commands, shared)
    verify.add_commands(commands, shared)
    export.add_commands(commands, shared)
    archive.add_commands(commands, shared)
    audit.add_commands(commands, shared)
    policy.add_commands(commands, shared)
    communities.add_commands(commands, shared)
    governance.add_commands(commands, shared)
    explain.add_commands(commands, shared)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 refused or failed, 2 used wrongly."""
    given = make_parser().parse_args(arguments)
    output = Output(given.json)
    command: Command = given.run
    try:
        return command(given, output)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except ApiProblem as problem:
        output.error(str(problem), problem.problem.get("remedy"))
        return 1
    except (UsageError, ConfigInvalid, GenesisInvalid, IdInvalid, KeystoreError) as error:
        output.error(str(error))
        return 2
    except (
        ArchiveDiffers,
        ArchiveIncomplete,
        ArchiveUnreachable,
        BackupFailed,
        BlocksMissing,
        ChainBroken,
        DryRunFailed,
        NobodyThere,
        NodeUnreachable,
        NotExplained,
        ProofInvalid,
        ProofUnavailable,
        NodeStopped,
        ReplayDiffers,
        ReplayFailed,
        SegmentDamaged,
        StoreDamaged,
        StoreLocked,
        VoteLogCorrupt,
    ) as error:
        output.error(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
