"""Run an economy for hundreds of epochs on the real ledger, and write what came of it.

    python tools/simulate_economy.py [--epochs 500] [--seed 1] [--beats 512] [--policy rewards.mass_full=0] [--write]

Real events through the real rules on a real LevelDB: guards, transition, settlement, decay.  No network.  Four kinds
of people from genesis, and later arrivals: honest (write sometimes, support what they like), lazy (hardly ever act),
spamming (publish as often as the rules let them), colluding (write a little, support nobody but each other), newcomers
(honest, join one after the other, bond and grow older), and a farm of accounts without a bond that support the ring.

With 512 beats an epoch is that of a public network, and nothing is scaled.  With fewer, what policies count in beats is
scaled, but the day-windows of s_flx, a constant of the software, stay as they are.  Prints a table, writes
build/economy.json, and with --write docs/economy-*.svg.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.progress import track
from rich.table import Table

from ledger import keyspace
from ledger.authoring import Reference, make_event, sign_event
from ledger.block import Batch
from ledger.bonds import BondLocked
from ledger.chain import Chain
from ledger.conservation import BALANCE
from ledger.emission import CHR_SUPPLY_MAX
from ledger.events import SignedEvent, check_event, compute_event_id
from ledger.genesis import Allocation, Genesis, make_policy_values
from ledger.identity import IdentityCreated
from ledger.payloads import Payload
from ledger.primitives.fixed_point import SCALE
from ledger.primitives.ids import compute_account_id
from ledger.primitives.signing import SigningKey
from ledger.receipts import APPLIED, Receipt
from ledger.standing import read_standing
from ledger.state import decode_number
from ledger.store import Store
from ledger.tokens import FLX, TOKENS, read_balance, read_supply
from ledger.transfers import TokensTransferred
from node.devnet import SAMPLE
from node.loader import read_posts
from node.modules import make_registry
from social.posts import make_post
from social.reactions import ContentLiked
from tools.lines import draw_lines

ROOT = Path(__file__).resolve().parent.parent
EPOCH_BEATS = 512
SHORT_BEATS = 8
"""The shortest epoch that has room for what people do in it."""
KINDS = {"honest": 40, "lazy": 25, "spamming": 15, "colluding": 20}
NEWCOMERS, NEWCOMER_EVERY, FARM, FARM_AT = 20, 20, 40, 50
GROUPS = (*KINDS, "newcomers", "farm")
SCALED = {
    "coherence": {"decay_step_beats": 256},
    "energy": {"cooldown_beats": 120},
    "sybil": {"posts_window_beats": 212},
}
"""What policies count in beats."""
LEAST = {"decay_step_beats": 64}
COLOURS = {
    "honest": "#2a7f3f", "lazy": "#8a8a8a", "spamming": "#c0392b", "colluding": "#8e44ad", "newcomers": "#2471a3",
    "farm": "#b9770e", "CHR": "#2a7f3f", "FLX": "#2471a3", "RES": "#b9770e", "PSI": "#8e44ad", "limit": "#c0392b",
}  # fmt: skip


Overrides: TypeAlias = dict[str, dict[str, Any]]


def scale_policies(beats: int, overrides: Overrides | None = None) -> Overrides:
    """Return policies for epochs of this many beats: what they count in beats is shortened, within its legal range."""
    policies: Overrides = {name: dict(fields) for name, fields in (overrides or {}).items()}
    if beats < EPOCH_BEATS:
        for name, fields in SCALED.items():
            scaled = {field: max(LEAST.get(field, 2), count * beats // EPOCH_BEATS) for field, count in fields.items()}
            policies[name] = scaled | policies.get(name, {})
    return policies


class Agent:
    """Somebody with a key, a habit and recent items."""

    def __init__(self, chain_id: bytes, group: str, number: int) -> None:
        self.group = group
        self.key = SigningKey(f"{group} {number}".encode().ljust(32, b"."))
        self.account = compute_account_id(chain_id, self.key.public)
        self.nonce = 0
        self.items: list[bytes] = []


class Economy:
    """A chain with agents on it."""

    def __init__(self, folder: Path, seed: int, beats: int, overrides: Overrides | None = None) -> None:
        self.beats = beats
        keys = {
            (group, number): SigningKey(f"{group} {number}".encode().ljust(32, b"."))
            for group, count in KINDS.items()
            for number in range(count)
        }
        genesis = Genesis(
            allocations=tuple(Allocation(1_000 * SCALE, key.public) for key in keys.values()), beat_ms=1_000,
            epoch_beats=beats, name="economy", time_ms=0,
            policies=make_policy_values(scale_policies(beats, overrides)),
            validators=tuple(SigningKey(bytes([number + 1]) * 32).public for number in range(4)),
        )  # fmt: skip
        self.registry = make_registry()
        self.store = Store(folder)
        self.chain = Chain(self.store, genesis, self.registry)
        self.draw = random.Random(seed)
        self.texts = [post.text for post in read_posts(SAMPLE)]
        self.agents = [Agent(self.chain.chain_id, group, number) for group, number in keys]
        self.group_of = {agent.account.hex(): agent.group for agent in self.agents}
        self.waiting: list[SignedEvent] = []

    def sign(self, agent: Agent, body: object, payload: Payload | None = None) -> bytes:
        """Put an event of an agent's into the next block; return its id."""
        kind = next(kind for kind in self.registry.all() if kind.body is type(body))
        agent.nonce += 1
        head = self.chain.head
        event = make_event(
            kind, body, author=agent.account, key=agent.key.public, nonce=agent.nonce,
            reference=Reference(head.height, head.hash, head.header.beat),
        )  # fmt: skip
        signed = sign_event(agent.key, self.chain.chain_id, event, payload)
        self.waiting.append(signed)
        return compute_event_id(signed.event)

    def join(self, group: str, number: int) -> Agent:
        """Let somebody new open an account."""
        agent = Agent(self.chain.chain_id, group, number)
        self.agents.append(agent)
        self.group_of[agent.account.hex()] = group
        self.sign(agent, IdentityCreated())
        return agent

    def publish(self, agent: Agent, text: str) -> None:
        payload = Payload(self.draw.randbytes(16), text)
        agent.items = [self.sign(agent, make_post(payload, ()), payload), *agent.items][:4]

    def like_some(self, agent: Agent, authors: Sequence[Agent], count: int) -> None:
        items = [item for author in authors if author is not agent for item in author.items]
        for item in self.draw.sample(items, min(count, len(items))):
            self.sign(agent, ContentLiked(item))

    def act(self, agent: Agent) -> None:
        """Do what this kind of person does in an epoch."""
        draw = self.draw
        liked = [each for each in self.agents if each.group in ("honest", "newcomers", "lazy")]
        match agent.group:
            case "honest" | "newcomers":
                if draw.random() < 0.5:
                    self.publish(agent, draw.choice(self.texts))
                self.like_some(agent, liked, 3)
            case "lazy":
                if draw.random() < 0.05:
                    self.publish(agent, draw.choice(self.texts))
                if draw.random() < 0.3:
                    self.like_some(agent, liked, 1)
            case "spamming":
                for _ in range(8):
                    self.publish(
                        agent, f"Buy now! https://shop.example/{draw.randrange(9)} buy buy buy cheap cheap cheap"
                    )
                self.like_some(agent, [each for each in self.agents if each.group == "spamming"], 10)
            case "colluding":
                if draw.random() < 0.5:
                    self.publish(agent, draw.choice(self.texts))
                self.like_some(agent, [each for each in self.agents if each.group == "colluding"], 10)
            case _:  # the farm
                self.like_some(agent, [each for each in self.agents if each.group == "colluding"], 10)

    def beat(self) -> tuple[Receipt, ...]:
        """Execute what waits in a block that begins a beat."""
        events, self.waiting = tuple(self.waiting), []
        checked = tuple(check_event(self.registry, self.chain.chain_id, each, payload_required=True) for each in events)
        height = self.chain.head.height + 1
        return self.chain.execute(Batch(True, height, events, 0, height, 0), checked).receipts

    def run_epoch(self, number: int) -> dict[str, Any]:
        """Let everybody act in one epoch and close it; return its figures."""
        fresh: list[Agent] = []
        if number % NEWCOMER_EVERY == 1 and number // NEWCOMER_EVERY < NEWCOMERS:
            fresh.append(self.join("newcomers", number // NEWCOMER_EVERY))
        if number == FARM_AT:
            fresh += [self.join("farm", each) for each in range(FARM)]
        receipts: list[Receipt] = []
        for step in range(self.beats):
            if step == 1:
                for agent in self.agents:
                    self.act(agent)
            if step == 2 and number == 1:
                for agent in self.agents:
                    if agent.group in KINDS:
                        self.sign(agent, BondLocked(100 * SCALE))
            if step == 3:
                for agent in fresh:
                    if agent.group == "newcomers":  # a friend gives what a bond takes
                        self.sign(self.agents[0], TokensTransferred(130 * SCALE, agent.account, FLX))
            if step == 4:
                for agent in fresh:
                    if read_balance(self.store, FLX, agent.account) >= 100 * SCALE:
                        self.sign(agent, BondLocked(100 * SCALE))
            receipts += self.beat()
        return self.measure(receipts)

    def measure(self, receipts: list[Receipt]) -> dict[str, Any]:
        """Return what the epoch that these receipts are of came to; the close is in the first beat of the next."""
        paid = [each for each in receipts if each.event_type == "economics.RewardPaid"]
        closed = next((each.inputs for each in receipts if each.event_type == "economics.EmissionEpochClosed"), {})
        row: dict[str, Any] = {
            "supply": {token: read_supply(self.store, token) / SCALE for token in TOKENS},
            "growth": closed.get("growth", SCALE) / SCALE,  # type: ignore[operator]
            "c_holo": closed.get("network_c_holo", SCALE) / SCALE,  # type: ignore[operator]
            "chr_issued": closed.get("chr_issued", 0) / SCALE,  # type: ignore[operator]
            "chr_pool": closed.get("chr_pool", 0) / SCALE,  # type: ignore[operator]
            "conserved": self.is_conserved(),
            "chr_unearned": (closed.get("chr_pool", 0) - closed.get("chr_issued", 0)) / SCALE,  # type: ignore[operator]
            "denied": count_denials(receipts),
        }
        for group in GROUPS:
            of_group = [each.inputs for each in paid if self.group_of.get(str(each.inputs["account"])) == group]
            standings = [read_standing(self.store, agent.account) for agent in self.agents if agent.group == group]
            known = [each.s_chr / SCALE for each in standings if each is not None]
            row[group] = {
                "people": len(known),
                "chr": sum(int(each["chr_author"]) + int(each["chr_endorser"]) for each in of_group) / SCALE,
                "flx": sum(int(each["flx_author"]) + int(each["flx_endorser"]) for each in of_group) / SCALE,
                "mass": sum(int(each["mass"]) for each in of_group) / SCALE,
                "s_chr": sum(known) / len(known) if known else 0.0,
            }
        return row

    def is_conserved(self) -> bool:
        """Whether the balances of every token sum to what was issued less what was burned."""
        sums = dict.fromkeys(TOKENS, 0)
        for key, value in self.store.iterate(BALANCE, keyspace.after(BALANCE)):
            sums[key[2:5].decode()] += decode_number(value)
        return all(sums[token] == read_supply(self.store, token) for token in TOKENS)


def count_denials(receipts: Sequence[Receipt]) -> dict[str, int]:
    """Return how many events were refused, by the first code that says why."""
    codes = [
        next((verdict.code for verdict in each.verdicts if not verdict.allowed), each.outcome)
        for each in receipts
        if each.outcome != APPLIED
    ]
    return {code: codes.count(code) for code in sorted(set(codes))}


def simulate(
    folder: Path,
    epochs: int,
    seed: int,
    console: Console | None = None,
    beats: int = SHORT_BEATS,
    overrides: Overrides | None = None,
) -> tuple[list[dict[str, Any]], bytes]:
    """Return the figures of each epoch, and the state digest at the end."""
    economy = Economy(folder, seed, beats, overrides)
    rows = [
        economy.run_epoch(number)
        for number in track(range(1, epochs + 1), "epochs", console=console, disable=console is None)
    ]
    digest = economy.chain.head.header.state_digest
    economy.store.close()
    return rows, digest


def summarise(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each group: people, CHR and FLX a head; shares of pay, of the pools and of mass; s_chr."""
    chr_all, mass_all = (sum(row[group][name] for row in rows for group in GROUPS) or 1 for name in ("chr", "mass"))
    pools = sum(row["chr_pool"] for row in rows) or 1
    table: list[tuple[str, ...]] = []
    for group in GROUPS:
        people = rows[-1][group]["people"]
        of_group = {name: sum(row[group][name] for row in rows) for name in ("chr", "flx", "mass")}
        table.append(
            (
                group, str(people),
                f"{of_group['chr'] / max(people, 1):,.0f}", f"{of_group['flx'] / max(people, 1):,.1f}",
                f"{of_group['chr'] / chr_all:.2%}", f"{of_group['chr'] / pools:.2%}",
                f"{of_group['mass'] / mass_all:.2%}", f"{rows[-1][group]['s_chr']:.3f}",
            )
        )  # fmt: skip
    return table


def compare_with_mass(rows: list[dict[str, Any]], group: str) -> tuple[int, float]:
    """Return in how many epochs a group's share of the CHR pool was above its share of the mass held, and the highest
    ratio of the two."""
    ratios: list[float] = []
    for row in rows:
        held = sum(row[each]["mass"] for each in GROUPS)
        if row[group]["mass"] and row["chr_pool"]:
            ratios.append(row[group]["chr"] / row["chr_pool"] / (row[group]["mass"] / held))
    return sum(1 for ratio in ratios if ratio > 1), max(ratios, default=0.0)


def add_up(values: list[float]) -> list[float]:
    total, sums = 0.0, []
    for value in values:
        total += value
        sums.append(total)
    return sums


def write_pictures(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write the plots of the report."""

    def earned(group: str) -> list[float]:
        return [
            total / max(row[group]["people"], 1)
            for total, row in zip(add_up([row[group]["chr"] for row in rows]), rows, strict=True)
        ]

    pictures = {
        "chr": ("CHR: supply and its bound by decay", "tokens", {
            "CHR": [row["supply"]["CHR"] for row in rows],
            "limit": [1_007_477 / 0.005] * len(rows),
        }),
        "supplies": ("FLX, RES", "tokens", {
            token: [row["supply"][token] for row in rows] for token in ("FLX", "RES")
        }),
        "earnings": ("CHR earned by a head of each group, added up", "tokens", {
            group: earned(group) for group in GROUPS
        }),
        "pools": ("CHR: the pool of each epoch, and what was paid of it", "tokens", {
            "limit": [row["chr_pool"] for row in rows],
            "CHR": [row["chr_issued"] for row in rows],
        }),
        "standing": ("Mean standing (s_chr) of each group", "0 to 1", {
            group: [row[group]["s_chr"] for row in rows] for group in GROUPS
        }),
    }  # fmt: skip
    for name, (title, unit, series) in pictures.items():
        count = max(len(values) for values in series.values())
        picture = draw_lines(title, f"epoch 1 to {count}; {unit}", series, COLOURS)
        (folder / f"economy-{name}.svg").write_text(picture, encoding="utf-8")


def read_overrides(settings: Sequence[str]) -> Overrides:
    """Return policies from texts such as "rewards.mass_full=0"."""
    overrides: Overrides = {}
    for setting in settings:
        name, _, rest = setting.partition(".")
        field, _, number = rest.partition("=")
        overrides.setdefault(name, {})[field] = int(number)
    return overrides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--beats", type=int, default=EPOCH_BEATS, help=f"of an epoch, {SHORT_BEATS} to {EPOCH_BEATS}")
    parser.add_argument(
        "--policy", action="append", default=[], metavar="NAME.FIELD=NUMBER", help="a raw value to try; may be repeated"
    )
    parser.add_argument("--write", action="store_true", help="write the plots into docs/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atlas-economy-") as folder:
        rows, digest = simulate(
            Path(folder) / "ledger", options.epochs, options.seed, Console(stderr=True), options.beats,
            read_overrides(options.policy),
        )  # fmt: skip
    table = Table(
        title=f"{options.epochs} epochs of {options.beats} beats, seed {options.seed}, state {digest.hex()[:16]}"
    )
    for name in ("group", "people", "CHR a head", "FLX a head", "of CHR paid", "of the pools", "of all mass", "s_chr"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for each in summarise(rows):
        table.add_row(*each)
    console = Console()
    console.print(table)
    last = rows[-1]
    console.print("supplies", {token: round(last["supply"][token], 3) for token in TOKENS})
    growth = [row["growth"] for row in rows]
    console.print(f"growth {min(growth):.3f} to {max(growth):.3f}; c_holo at the end {last['c_holo']:.3f}")
    used = sum(row["chr_issued"] for row in rows) / max(1.0, sum(row["chr_pool"] for row in rows))
    console.print(
        f"of the CHR pools {used:.1%} was paid; conserved in every epoch: {all(row['conserved'] for row in rows)}"
    )
    console.print(f"highest CHR supply {max(row['supply']['CHR'] for row in rows):,.0f} of {CHR_SUPPLY_MAX // SCALE:,}")
    for group in ("colluding", "spamming"):
        above, highest = compare_with_mass(rows, group)
        console.print(
            f"{group}: share of the pool / share of mass held: above 1 in {above} epochs, at most {highest:.2f}"
        )
    denied: dict[str, int] = {}
    for row in rows:
        for code, count in row["denied"].items():
            denied[code] = denied.get(code, 0) + count
    console.print("denied an epoch", {code: round(denied[code] / len(rows), 1) for code in sorted(denied)})
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "economy.json").write_text(json.dumps(rows) + "\n")
    if options.write:
        write_pictures(rows, ROOT / "docs")


if __name__ == "__main__":
    main()
