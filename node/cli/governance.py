"""Commands for who takes part in decisions: draft, report, propose, vote and watch, over a node's API."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson

from ledger.policies import KINDS, TRACKS, PolicyInvalid, compute_policy_id, encode_values
from ledger.primitives.fixed_point import DecimalInvalid, parse_decimal
from ledger.scopes import GRANTED
from node.api_client import ApiClient
from node.cli.home import UsageError
from node.cli.output import Output, plain, short
from node.cli.people import client_of, resolve_account, sign_and_submit
from node.cli.policy import read_change, readable
from social.governance.votes import CHOICES

OPEN = ("VOTING", "QUEUED")
POLL_S = 2.0
STEPS = """\
how a policy is changed:
  1  atlas governance draft energy --set base_cost=200 --as ada       write new values down; prints the draft's id
  2  atlas policy dry-run energy --set base_cost=200 --node FOLDER --attest --json > report.json
                                                                      each validator's operator tries it and signs
  3  atlas governance report report.json --as ada                     carry a validator's word in; it takes a third
  4  atlas governance propose DRAFT --report HASH --rollback 1 --as ada
  5  atlas governance vote evt1… yes --as ben                         once, and for good
  6  atlas governance watch evt1…                                     until it is in force, or ends

roles, nodes and validators need no dry run:
  atlas governance grant AUDITOR @ben --as ada
  atlas governance revoke AUDITOR @ben --as ada
  atlas governance revoke-node KEY --reason "served other blocks" --as ada
  atlas governance admit-validator KEY --as ada                       a registered node; joins when it says it is ready
  atlas governance remove-validator KEY --reason "often absent" --as ada

Whoever lacks a step is told its code, and what the guards compared; `atlas governance list` shows what is open.
"""


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    summary = "Take part in decisions: draft, report, propose, vote, watch."
    group = commands.add_parser(
        "governance", help=summary, description=summary, epilog=STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions: Any = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    client = argparse.ArgumentParser(add_help=False, parents=[shared])
    client.add_argument(
        "--home", help="folder with client.json, wallet and genesis (default: build/devnet or ~/.atlas)"
    )
    client.add_argument("--url", help="the node's API, e.g. http://127.0.0.1:8080 (default: from client.json)")
    signer = argparse.ArgumentParser(add_help=False, parents=[client])
    signer.add_argument("--as", dest="key", required=True, metavar="NAME", help="the wallet's key that signs")
    proposer = argparse.ArgumentParser(add_help=False, parents=[signer])
    proposer.add_argument(
        "--deposit", metavar="FLX", help="held until the count, lost when too few vote (default: what the policy asks)"
    )

    def add(
        name: str, help: str, parent: argparse.ArgumentParser, run: Callable[[argparse.Namespace, Output], int]
    ) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help, parents=[parent])
        command.set_defaults(run=run)
        return command

    command = add("list", "List proposals, newest first.", client, run_list)
    command.add_argument("--state", choices=("open", "closed"), help="open: voted on, or waiting for their delay")
    command.add_argument("--limit", type=int, default=20)
    command = add("show", "Show a proposal: what it changes, and how its vote stands.", client, run_show)
    command.add_argument("proposal", help="evt1…")
    command = add(
        "watch", "Show a proposal's vote whenever it changes, until it is decided and in force.", client, run_watch
    )
    command.add_argument("proposal", help="evt1…")
    command.add_argument("--every", type=float, default=POLL_S, metavar="SECONDS", help=f"default: {POLL_S:.0f}")
    add("validators", "Show the validator set, and the changes of it that wait.", client, run_validators)
    command = add("draft", "Write new values of a policy down; binds nobody.", signer, run_draft)
    command.add_argument("policy", choices=sorted(TRACKS))
    command.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", dest="changes", required=True,
        help="a value as `atlas policy show` shows it; may be repeated",
    )  # fmt: skip
    command = add("report", "Carry a validator's word for a dry run in.", signer, run_report)
    command.add_argument("file", type=Path, help="what `atlas policy dry-run --attest --json` printed")
    command = add("propose", "Put a draft to the vote.", proposer, run_propose)
    command.add_argument("draft", help="id of the draft, 64 hex digits")
    command.add_argument("--report", required=True, help="hash of the report that enough validators signed")
    command.add_argument("--rollback", type=int, required=True, help="version of the policy to return to if need be")
    command.add_argument("--urgent", action="store_true", help="infra track only: half the time, a higher quorum")
    command = add("rollback", "Ask to return a policy to the version that its change named.", proposer, run_rollback)
    command.add_argument("policy", choices=sorted(TRACKS))
    command = add("grant", "Ask that an account be given a role on the whole platform.", proposer, run_grant)
    command.add_argument("role", choices=GRANTED)
    command.add_argument("account", help="acct1… or a handle")
    command.add_argument("--until-beat", type=int, help="the last beat of a limited duty")
    command = add("revoke", "Ask that a role be taken back.", proposer, run_revoke)
    command.add_argument("role", choices=GRANTED)
    command.add_argument("account", help="acct1… or a handle")
    command = add("revoke-node", "Ask that a node be taken out of service.", proposer, run_revoke_node)
    command.add_argument("node", help="its public key, 64 hex digits")
    command.add_argument("--reason", required=True)
    command.add_argument("--urgent", action="store_true", help="half the time, a higher quorum")
    command = add("admit-validator", "Ask that a node be admitted to the validator set.", proposer, run_admit_validator)
    command.add_argument("node", help="its public key, 64 hex digits; it must be registered")
    command = add("remove-validator", "Ask that a validator be let go.", proposer, run_remove_validator)
    command.add_argument("node", help="its public key, 64 hex digits")
    command.add_argument("--reason", required=True)
    command.add_argument("--urgent", action="store_true", help="half the time, a higher quorum")
    command = add("vote", "Vote on a proposal; a vote that was cast stays.", signer, run_vote)
    command.add_argument("proposal", help="evt1…")
    command.add_argument("choice", choices=CHOICES)
    command.add_argument("--reason", default="", help="a short word, or the hash of a text in hex; at most 64 letters")
    command = add("cancel", "Take your own proposal back while it is voted on.", signer, run_cancel)
    command.add_argument("proposal", help="evt1…")


# Reading.


def run_list(given: argparse.Namespace, output: Output) -> int:
    page = client_of(given)[1].get("/proposals", state=given.state, limit=given.limit)
    if output.document(page):
        return 0
    rows = [
        (each["proposal_id"], _subject(each), each["state"], each["track"], each["closes_beat"], _standing(each))
        for each in page["items"]
    ]
    beat = page["ledger"]["beat"]
    output.table(f"proposals, as of beat {beat}", ("id", "what", "state", "decided by", "closes", "vote"), rows)
    return 0


def run_show(given: argparse.Namespace, output: Output) -> int:
    found = client_of(given)[1].get(f"/proposals/{given.proposal}")
    if not output.document(found):
        _print(found, output)
    return 0


def run_watch(given: argparse.Namespace, output: Output) -> int:
    """Print the vote whenever it changes; 0 when it came into force, 1 when it ended otherwise."""
    client, before = client_of(given)[1], None
    while True:
        found = client.get(f"/proposals/{given.proposal}")
        proposal = found["proposal"]
        done = proposal["state"] not in OPEN
        if proposal != before and not output.as_json:
            beat = found["ledger"]["beat"]
            output.line(f"beat {beat}: [bold]{proposal['state']}[/bold], {_standing(proposal)}{_when(proposal, beat)}")
        before = proposal
        if done:
            output.document(found)
            return 0 if proposal["state"] in ("ACTIVE", "SUPERSEDED", "ROLLED_BACK") else 1
        time.sleep(given.every)


def run_validators(given: argparse.Namespace, output: Output) -> int:
    found = client_of(given)[1].get("/validators")
    if output.document(found):
        return 0
    rows = [
        (str(each["replica"]), each["node"], each["operator"] or "", "revoked" if each["revoked"] else "")
        for each in found["validators"]
    ]
    era, since, quorum = found["era"], found["since"], found["quorum"]
    title = f"validators of era {era}, from height {since} on: {quorum} of {len(rows)} decide"
    output.table(title, ("replica", "node", "operator", ""), rows)
    if found["waiting"]:
        output.table(
            "\nwaiting for the end of an epoch", ("what", "node", "state"),
            [(each["kind"], each["node"], _waiting_state(each)) for each in found["waiting"]],
        )  # fmt: skip
    return 0


def _waiting_state(waiting: dict[str, Any]) -> str:
    if waiting["kind"] == "rotate":
        return f"to {waiting['new_node']}"
    if waiting["kind"] != "admit":
        return ""
    ready = "not ready yet" if waiting["ready_epoch"] is None else f"ready in epoch {waiting['ready_epoch']}"
    return f"{ready}, lapses after epoch {waiting['last_epoch']}"


def _print(found: dict[str, Any], output: Output) -> None:
    proposal, beat = found["proposal"], found["ledger"]["beat"]
    output.facts(
        [
            ("proposal", proposal["proposal_id"]),
            ("what", _subject(proposal)),
            ("state", f"{proposal['state']}{_when(proposal, beat)}"),
            ("decided by", f"{proposal['track']}, weights of epoch {proposal['epoch']}"),
            ("proposer", f"{proposal['proposer']}, deposit {_trim(proposal['deposit'])} FLX"),
            ("vote", _standing(proposal)),
            ("needed", f"quorum {_percent(proposal['quorum'])}, majority {_percent(proposal['majority'])}"),
        ]
    )
    if proposal["rollback"] is not None:
        output.facts([("returns to", f"version {proposal['rollback']}"), ("draft", proposal["draft"])])
    if found["changes"]:
        rows = [(each["field"], readable(each["before"]), readable(each["after"])) for each in found["changes"]]
        output.table("\nchanges", ("field", "before", "after"), rows)


def _subject(proposal: dict[str, Any]) -> str:
    measure = proposal["measure"]
    if measure is None:
        return f"{proposal['kind']} of {proposal['subject']}@{proposal['base']}"
    if measure["node"] is not None:
        reason = "" if measure["reason"] is None else f": {plain(measure['reason'])}"
        return f"{measure['kind']} {short(measure['node'])}{reason}"
    return f"{measure['kind']} {measure['role']} {short(measure['account'])}"


def _standing(proposal: dict[str, Any]) -> str:
    shares = ", ".join(f"{name} {_trim(proposal[name])}" for name in CHOICES)
    return f"{shares} of {_trim(proposal['eligible'])}, {proposal['voters']} voted"


def _when(proposal: dict[str, Any], beat: int) -> str:
    if proposal["state"] == "VOTING":
        return f", closes in {max(0, proposal['closes_beat'] - beat)} beats"
    if proposal["state"] == "QUEUED" and proposal["ready_beat"] is not None:
        return f", in force with the first epoch from beat {proposal['ready_beat']} on"
    return ""


def _trim(decimal: str) -> str:
    whole, _, part = decimal.partition(".")
    part = part[:4].rstrip("0")
    return f"{whole}.{part}" if part else whole


def _percent(decimal: str) -> str:
    return f"{parse_decimal(decimal) * 100 // parse_decimal('1')} %"


# Writing.


def run_draft(given: argparse.Namespace, output: Output) -> int:
    values = _edit_values(client_of(given)[1], given.policy, given.changes)
    code = sign_and_submit(given, output, "governance.PolicyDrafted", {"policy": given.policy, "values": values.hex()})
    if not output.as_json:
        output.facts([("draft", compute_policy_id(given.policy, values).hex())])
    return code


def _edit_values(client: ApiClient, policy: str, changes: list[str]) -> bytes:
    """Return the values in force with some changed.  Raises UsageError."""
    answer = client.get(f"/policies/{policy}")
    defaults = KINDS[policy]()
    current: dict[str, Any] = {}
    for each in answer["values"]:
        name, text = each["field"], each["value"]
        current[name] = bytes.fromhex(text) if isinstance(getattr(defaults, name, 0), bytes) else int(text)
    try:
        return encode_values(policy, current | dict(read_change(policy, change) for change in changes))
    except PolicyInvalid as invalid:
        raise UsageError(str(invalid)) from invalid


def run_report(given: argparse.Namespace, output: Output) -> int:
    try:
        document: object = orjson.loads(given.file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"{given.file}: not readable as JSON: {error}") from error
    found = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    attestation = cast("dict[str, Any]", found.get("attestation") or {})
    if attestation.get("type") != "governance.PolicySimulated":
        raise UsageError(f"{given.file}: holds no attestation; make it with `atlas policy dry-run … --attest --json`")
    return sign_and_submit(given, output, "governance.PolicySimulated", attestation["body"])


def run_propose(given: argparse.Namespace, output: Output) -> int:
    body = {
        "draft": given.draft, "report": given.report, "rollback": given.rollback, "urgent": given.urgent,
        "deposit": _deposit(given),
    }  # fmt: skip
    return sign_and_submit(given, output, "governance.PolicyProposed", body)


def run_rollback(given: argparse.Namespace, output: Output) -> int:
    body = {"policy": given.policy, "deposit": _deposit(given)}
    return sign_and_submit(given, output, "governance.RollbackProposed", body)


def run_grant(given: argparse.Namespace, output: Output) -> int:
    body = {
        "account": resolve_account(client_of(given)[1], given.account), "role": given.role,
        "expires_beat": given.until_beat, "deposit": _deposit(given),
    }  # fmt: skip
    return sign_and_submit(given, output, "governance.RoleGrantProposed", body)


def run_revoke(given: argparse.Namespace, output: Output) -> int:
    account = resolve_account(client_of(given)[1], given.account)
    body = {"account": account, "role": given.role, "deposit": _deposit(given)}
    return sign_and_submit(given, output, "governance.RoleRevocationProposed", body)


def run_revoke_node(given: argparse.Namespace, output: Output) -> int:
    body = {"node": given.node, "reason": given.reason, "urgent": given.urgent, "deposit": _deposit(given)}
    return sign_and_submit(given, output, "governance.NodeRevocationProposed", body)


def run_admit_validator(given: argparse.Namespace, output: Output) -> int:
    body = {"node": given.node, "deposit": _deposit(given)}
    return sign_and_submit(given, output, "governance.ValidatorAdmissionProposed", body)


def run_remove_validator(given: argparse.Namespace, output: Output) -> int:
    body = {"node": given.node, "reason": given.reason, "urgent": given.urgent, "deposit": _deposit(given)}
    return sign_and_submit(given, output, "governance.ValidatorRemovalProposed", body)


def run_vote(given: argparse.Namespace, output: Output) -> int:
    body = {"choice": given.choice, "proposal": given.proposal, "reason": given.reason}
    return sign_and_submit(given, output, "governance.VoteCast", body)


def run_cancel(given: argparse.Namespace, output: Output) -> int:
    return sign_and_submit(given, output, "governance.ProposalCancelled", {"proposal": given.proposal})


def _deposit(given: argparse.Namespace) -> str:
    """Return the deposit in atoms: what was asked for, or the least that the policy in force takes."""
    if given.deposit is not None:
        try:
            return str(parse_decimal(given.deposit))
        except DecimalInvalid as invalid:
            raise UsageError(f"--deposit: {invalid}") from invalid
    values = client_of(given)[1].get("/policies/governance")["values"]
    found: str = next(each["value"] for each in values if each["field"] == "deposit")
    return found
