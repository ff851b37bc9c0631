"""What the rows of a bundle say, computed again from the events and the state that it proves."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from atlas_verify.canonical import Invalid, decode, read_hex, read_json
from atlas_verify.chain import Validators
from atlas_verify.documents import verify

TOKENS = ("ATR", "CHR", "FLX", "NOD", "PSI", "RES")
ONE = 10**18  # atoms to a token, and what shares are counted in
PHI_INVERSE = 618033988749894848204586834365638117720309179805762862135448  # with 60 digits
COLUMNS = {
    "events": "log_index height event_id event_type author outcome explanation",
    "ranking": "factor value",
    "wallet": "log_index height event_id event_type kind token amount balance policy",
}
TOLD = {  # event type: kind, whose balance, sign, token, the inputs that add up to the amount
    "economics.RewardClawedBack": (
        ("penalty", "account", -1, "CHR", "chr"),
        ("penalty", "account", -1, "FLX", "flx"),
    ),
    "economics.RewardPaid": (
        ("reward", "account", 1, "CHR", "chr_author chr_endorser"),
        ("reward", "account", 1, "FLX", "flx_author flx_endorser"),
        ("reward", "account", 1, "PSI", "psi"),
    ),
    "economics.TokensTransferred": (
        ("transfer", "author", -1, "FLX", "amount"),
        ("transfer", "to", 1, "FLX", "amount"),
    ),
    "identity.BondLocked": (("hold", "author", -1, "FLX", "amount"),),
    "identity.BondReleased": (("release", "author", 1, "FLX", "amount"),),
    "infra.NodAllocated": (("reward", "account", 1, "NOD", "atoms"),),
    "infra.NodeRegistered": (("hold", "author", -1, "FLX", "node_bond"),),
}
Rows = Sequence[Sequence[str]]
Receipts = Mapping[str, dict[str, Any]]  # by log index
State = Mapping[bytes, bytes | None]
Query = Mapping[str, str]
FILTERS = {"author", "from_height", "module", "outcome", "to_height", "type"}
DECAY_STEPS_MAX = 64
MICRO = 10**12
CELL_CHARACTERS_MAX = 4_096


def format_amount(raw: int) -> str:
    return f"{'-' if raw < 0 else ''}{abs(raw) // ONE}.{abs(raw) % ONE:018}"


def check_events(rows: Rows, query: Query, receipts: Receipts, state: State, state_height: int) -> dict[str, Any]:
    """Each row says what its receipt says, and each receipt is one that the query asks for.  Raises Invalid."""
    made: list[list[str]] = []
    heights = [query.get(name, "") for name in ("from_height", "to_height")]
    for receipt in receipts.values():
        author = receipt["author"].hex()
        made.append([*_list_place(receipt), author.strip("0") and author, receipt["outcome"], receipt["explanation"]])
        says = {"author": author, "outcome": receipt["outcome"], "type": receipt["event_type"]}
        low, high = int(heights[0] or 0), int(heights[1] or receipt["height"])
        if any(query.get(name, said) != said for name, said in says.items()) or not low <= receipt["height"] <= high:
            raise Invalid(f"query: does not ask for event {receipt['log_index']}")
        if query.get("module", "") not in ("", *receipt["modules"]):
            raise Invalid(f"query: does not ask for the module of event {receipt['log_index']}")
    if rows != made or state or set(query) - FILTERS or not all(re.fullmatch("[0-9]{0,19}", each) for each in heights):
        raise Invalid("rows, query: not what the receipts say")
    return {}


def check_wallet(rows: Rows, query: Query, receipts: Receipts, state: State, state_height: int) -> dict[str, Any]:
    """Amounts add up to the balances, lead to those of the state, and are what receipts tell.  Raises Invalid."""
    account, at_state = read_hex("query: account", query["account"], 32), dict[str, int]()
    balances: dict[str, int] = dict.fromkeys(TOKENS, 0)
    told: dict[str, list[tuple[str, str, int]]] = {place: [] for place in receipts}
    begun: set[str] = set()
    last = -1
    for number, (place, height, event_id, event_type, kind, token, amount, balance, _) in enumerate(rows):
        atoms = int(amount.replace(".", "")) if re.fullmatch(r"-?[0-9]+\.[0-9]{18}", amount) else 0
        if kind not in ("carried", "missing"):
            if [place, height, event_id, event_type] != _list_place(receipts[place]) or int(place) < last:
                raise Invalid(f"rows[{number}]: not what the receipt says, or out of order")
            last = int(place)
            told[place].append((kind, token, atoms))
            if int(height) > state_height and not at_state:
                at_state = dict(balances)
        elif place or height or event_id or event_type or (kind == "carried" and (token in begun or atoms <= 0)):
            raise Invalid(f"rows[{number}]: expected no event, and what is carried before all else")
        begun.add(token)
        balances[token] += atoms
        if (format_amount(atoms), format_amount(balances[token])) != (amount, balance) or balances[token] < 0:
            raise Invalid(f"rows[{number}]: the amounts do not add up to the balance")
    for place, receipt in receipts.items():
        if not told[place]:
            raise Invalid(f"events: expected only those that rows name, got {place}")
        _check_told(receipt, account.hex(), told[place])
    held = {b"sb%s/%s" % (token.encode(), account): atoms for token, atoms in (at_state or balances).items()}
    if state and {key: int.from_bytes(value or b"", "big") for key, value in state.items()} != held:
        raise Invalid("states: not the balances that the rows lead to")
    if len(query) > 1:
        raise Invalid("query: expected an account and nothing else")
    return {"rows": len(rows), "balances_proven_at_height": state_height if state else None}


def _check_told(receipt: dict[str, Any], account: str, rest: list[tuple[str, str, int]]) -> None:
    """Take from an event's rows what its receipt tells; what is left must be what passing epochs and rules do."""
    known = receipt["inputs"] | {"node_bond": 1_000 * ONE}
    known |= {"charge": MICRO * receipt["evidence"].get("charge_micro_atr", 0)}
    parts = [("charge", "author", -1, "ATR", "charge"), *TOLD.get(receipt["event_type"], ())]
    if "deposit" in known:
        parts.append(("hold", "author", -1, "FLX", "deposit"))
    for kind, whose, sign, token, names in parts:
        atoms = sign * sum(int(str(known[name]).replace(".", "")) for name in names.split())
        is_ours = account == (receipt["author"].hex() if whose == "author" else known[whose])
        if atoms and is_ours and receipt["outcome"] == "applied":
            if (kind, token, atoms) not in rest:
                raise Invalid(f"rows: event {receipt['log_index']} has no row for {kind} of {token}")
            rest.remove((kind, token, atoms))
    gain = "opening" if receipt["event_type"] == "identity.IdentityCreated" else "recovery"
    for kind, token, atoms in rest:
        if kind != ("decay" if atoms < 0 else gain if token == "ATR" else "release") or not atoms:
            raise Invalid(f"rows: event {receipt['log_index']} does not tell of this {kind} of {token}")
    if len({token for _, token, _ in rest}) != len(rest):
        raise Invalid(f"rows: event {receipt['log_index']} has two rows of one token beside what it tells")


def check_ranking(rows: Rows, query: Query, receipts: Receipts, state: State, state_height: int) -> dict[str, Any]:
    """A post's score follows from item, standing, policy, beat and mass.  Raises Invalid."""
    post = read_hex("query: post", query["post"], 32)
    item, policies = decode(state[b"sI" + post] or b""), decode(state[b"sy"] or b"")
    standing, beat = state[b"sk" + item["author"]] or b"", int.from_bytes(state[b"st"] or b"", "big")
    values = {each["name"]: each["values"] for each in policies["versions"]}
    step, s_chr, mass = decode(values["coherence"])["decay_step_beats"], int.from_bytes(standing[48:56], "big"), 0
    for receipt in receipts.values():
        named = receipt["event_type"], receipt["inputs"]["item"]
        if named != ("economics.RewardAccrued", query["post"]) or receipt["height"] > state_height or len(receipts) > 1:
            raise Invalid("events: expected at most one settlement of the post, not above the state's height")
        mass = receipt["inputs"]["mass"]
    powers = [ONE * 10**42, PHI_INVERSE]
    while len(powers) <= DECAY_STEPS_MAX:
        powers.append(powers[-2] - powers[-1])
    age: int = (beat - item["beat"]) // step
    decay = powers[age] // 10**42 if age <= DECAY_STEPS_MAX else 0
    product: int = item["coherence"] * (ONE + s_chr) * (4 * mass + 5 * ONE) * decay
    factors = {"beat": beat, "published_beat": item["beat"], "decay_step_beats": step}
    shares: dict[str, int] = {"coherence": item["coherence"], "s_chr": s_chr, "mass": mass, "decay": decay}
    shares["score"] = product // (4 * ONE * ONE * (mass + 5 * ONE))
    made = {name: str(count) for name, count in factors.items()} | {
        name: format_amount(each) for name, each in shares.items()
    }
    if rows != [[name, text] for name, text in made.items()] or len(state) != 4 or len(query) > 1:
        raise Invalid("rows: not the factors and the score that follow from the state")
    return {**made, "state_height": state_height}


def _list_place(receipt: dict[str, Any]) -> list[str]:
    return [str(receipt["log_index"]), str(receipt["height"]), receipt["event_id"].hex(), receipt["event_type"]]


CHECKS = {"events": check_events, "ranking": check_ranking, "wallet": check_wallet}


def verify_tables(data: bytes, genesis: Validators, csv: bytes | None = None) -> dict[str, Any]:
    """Return what a proof file shows, of a bundle that its rows are true too.  Raises Invalid."""
    shown = verify(data, genesis, csv)
    if shown["kind"] != "bundle":
        return shown
    document, state = read_json("file", data), dict[bytes, bytes | None]()
    subject, query, rows = document["subject"], document["query"], document["rows"]
    if subject not in CHECKS or document["columns"] != COLUMNS[subject].split():
        raise Invalid(f"subject, columns: expected those of {', '.join(COLUMNS)}")
    if any(type(cell) is not str or len(cell) > CELL_CHARACTERS_MAX for row in (query.values(), *rows) for cell in row):
        raise Invalid(f"query, rows: expected texts of at most {CELL_CHARACTERS_MAX} characters")
    receipts = [decode(read_hex("receipt", each["receipt"])) for each in document["events"]]
    for each in document["states"]:
        value = None if each["value"] is None else read_hex("value", each["value"])
        state[read_hex("key", each["key"])] = value
    by_place = {str(receipt["log_index"]): receipt for receipt in receipts}
    header = decode(read_hex("header", document["header"]))
    try:
        found = CHECKS[subject](rows, query, by_place, state, header["state_height"])
    except (LookupError, TypeError, ValueError) as error:
        raise error if isinstance(error, Invalid) else Invalid(f"rows: expected other members: {error}") from error
    return {**shown, "rows_say": "what follows from the events and the state", **query, **found}
