"""A machine's seat in the validator set of one era: its core, its votes, and which machine is which replica."""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.messages import Sign
from consensus.parameters import Parameters
from ledger.chain import Chain
from ledger.service import Validators
from node.consensus_core import ConsensusCore
from node.eras import choose_validators, find_replica, open_vote_log
from node.vote_log import LogFile, VoteLog
from simulations.setting import Setting, make_replica_key

MakeCore = Callable[[Parameters, int, Sign, VoteLog], ConsensusCore]


@dataclass(slots=True)
class Seat:
    """What a machine has as replica `me` of an era."""

    parameters: Parameters
    me: int
    machines: tuple[int, ...]  # by replica number
    vote_log: VoteLog
    sign: Sign
    core: ConsensusCore

    @property
    def era(self) -> int:
        return self.parameters.era


def find_seat(setting: Setting, chain: Chain, machine: int) -> Validators | None:
    """Return the set of the era that goes on, if the machine's key is in it."""
    validators = choose_validators(chain)
    return None if find_replica(validators, make_replica_key(machine).public) is None else validators


def take_seat(
    setting: Setting,
    chain: Chain,
    machine: int,
    log: LogFile,
    make_core: MakeCore,
) -> Seat | None:
    """Return the seat of a machine in the era that goes on; None when its key is not in the set.

    Raises VoteLogCorrupt, and what the disk raises.
    """
    validators = find_seat(setting, chain, machine)
    if validators is None:
        return None
    key = make_replica_key(machine)
    parameters = setting.make_parameters(validators)
    me = find_replica(validators, key.public)
    assert me is not None
    sign = setting.sign_as(key, parameters)
    vote_log = open_vote_log(log, chain, validators)
    core = make_core(parameters, me, sign, vote_log)
    return Seat(parameters, me, tuple(map(setting.machine_of, validators.keys)), vote_log, sign, core)
