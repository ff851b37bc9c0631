"""A machine: its disk stays, all else begins anew with each life; its clock runs a little fast or slow."""

from collections.abc import Callable

from ledger import keyspace
from ledger.chain import Chain
from ledger.head import encode_head
from ledger.storage import StoreDamaged
from ledger.transition import Executed
from node.block_fetch import ReplayDiffers
from simulations.disk import Disk, Point, PowerLost
from simulations.faults import Faults, draw
from simulations.observations import Crashed, Halted, Observer
from simulations.schedule import Action, Schedule

WALL_OFFSET_MS_MAX = 2_000


class WatchedChain(Chain):
    """Tells of each block as soon as it is durable, also when the node ends at that very moment."""

    on_durable: Callable[[Executed], None]

    def commit(self, executed: Executed, *, synced: bool = True) -> None:
        try:
            super().commit(executed, synced=synced)
        finally:
            if self.store.get(keyspace.META_HEAD) == encode_head(executed.header.height, executed.hash):
                self.on_durable(executed)

    def forget_cached(self) -> None:
        """Read from the store again: something else has written there."""
        self._cached.clear()


class Machine:
    """What a node runs on, and what can happen to it."""

    def __init__(
        self,
        number: int,
        schedule: Schedule,
        faults: Faults,
        observe: Observer,
        name: str,
        contents: dict[bytes, bytes],
    ) -> None:
        """contents: what is on the disk at first.  name: says which stream of chances is its own."""
        self.number = number
        self.up = False
        self.life: int = 0
        self.faulty = True
        """Whether it may still crash by itself."""
        self.has_bad_disk = False
        """Whether a crash may damage what was durable."""
        self.refuses: str | None = None
        """Why it will not start any more, if so: its disk is damaged."""
        self.kept_down = False
        """Whether nobody starts it before the world is healed."""
        self.trap: Point | None = None
        """Where a script lets it crash: called at each point, raises PowerLost."""
        self._halted: str | None = None
        self._schedule = schedule
        self._faults = faults
        self._observe = observe
        self._stream = schedule.stream(name)
        self._rate = 1000 + self._stream.choice((-1, 1)) * draw(self._stream, faults.drift_permille)
        self._wall_offset_ms = self._stream.randint(-WALL_OFFSET_MS_MAX, WALL_OFFSET_MS_MAX)
        self._crash_ppm = draw(self._stream, faults.crash_point_ppm)
        self._failure_ppm = draw(self._stream, faults.write_failure_ppm)
        self.disk = Disk(name, contents, self._pass_point)

    def crash(self, why: str) -> None:
        """Lose all that is not durable."""
        self.up = False
        self.life += 1
        self.disk.crash(self._stream)
        if self.has_bad_disk and self._stream.randrange(1000) < draw(self._stream, self._faults.flip_permille):
            self.disk.log.flip_bit(self._stream)
        self._observe(Crashed(self._schedule.now_ms, self.number, why))

    @property
    def halted(self) -> str | None:
        """Why it votes no more, if so."""
        return self._halted

    def local_ms(self) -> int:
        """Its monotonic clock."""
        return self._schedule.now_ms * self._rate // 1000

    def after(self, delay_ms: int, action: Action) -> None:
        """Do this later, if this life lasts until then."""
        life = self.life

        def act() -> None:
            if self.up and self.life == life:
                self._guard(action)

        self._schedule.after(delay_ms, act)

    def _true_ms(self, local_ms: int) -> int:
        return -(-local_ms * 1000 // self._rate)

    def _guard(self, action: Action) -> None:
        """Do it; what ends a node's process ends this life."""
        try:
            action()
        except PowerLost as lost:
            self.crash(str(lost))
        except OSError as failed:
            self.crash(f"stopped: {failed}")
        except (ReplayDiffers, StoreDamaged) as differs:
            self._halt(str(differs))

    def _halt(self, reason: str) -> None:
        if self._halted is None:
            self._halted = reason
            self._observe(Halted(self._schedule.now_ms, self.number, reason))

    def _pass_point(self, point: str) -> None:
        """A place where the node may crash, or its disk fail.  Raises PowerLost and OSError."""
        if not self.faulty:
            return
        if self.trap is not None:
            self.trap(point)
        drawn = self._stream.randrange(1_000_000)
        if drawn < self._crash_ppm:
            raise PowerLost(point)
        if drawn < self._crash_ppm + self._failure_ppm and point != "send":
            raise OSError(f"the disk failed at {point}")
