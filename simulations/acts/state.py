"""State: a replica whose ledger differs by one bit from what it should be, as after a bad disk or unlike code."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from ledger import keyspace
from ledger.tokens import ATR
from simulations.observations import Scripted
from simulations.setting import get_account_id
from simulations.world import World


@dataclass(frozen=True, slots=True)
class FlipState:
    """Flips one bit of the energy that an account holds at these replicas; its next event shows."""

    name: ClassVar[str] = "flip_state"
    at_ms: int
    replicas: tuple[int, ...]
    account: int

    def get_replicas(self) -> Collection[int]:
        return self.replicas

    def get_faulty(self) -> Collection[int]:
        return self.replicas

    def begin(self, world: World) -> None:
        account_id = get_account_id(world.setting.chain_id, self.account)
        world.workload.distrusted.update(self.replicas)
        for number in self.replicas:
            node = world.nodes[number]
            node.disk.store.flip_bit(keyspace.balance(ATR, account_id))
            node.chain.forget_cached()
            height = node.chain.head.height
            world.show(Scripted(world.now_ms, "state flipped", (("replica", number), ("height", height))))
