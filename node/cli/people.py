"""Commands for people with a wallet: post, reply, like, follow, transfer, feed, event, status."""

import argparse
from typing import Any

from ledger.events import compute_event_id
from ledger.genesis import compute_chain_id
from ledger.primitives.fixed_point import parse_decimal
from ledger.primitives.ids import IdKind, compute_account_id, encode_id
from ledger.primitives.signing import Purpose, SigningKey
from node.api_client import ApiClient, ApiProblem
from node.cli.home import Home, UsageError, find_home
from node.cli.output import Output, outcome, plain, short

FEED_LIMIT = 10


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    client = argparse.ArgumentParser(add_help=False, parents=[shared])
    client.add_argument(
        "--home", help="folder with client.json, wallet and genesis (default: build/devnet or ~/.atlas)"
    )
    client.add_argument("--url", help="the node's API, e.g. http://127.0.0.1:8080 (default: from client.json)")
    signer = argparse.ArgumentParser(add_help=False, parents=[client])
    signer.add_argument("--as", dest="key", required=True, metavar="NAME", help="the wallet's key that signs")

    def add(name: str, help: str, parent: argparse.ArgumentParser, run: Any) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help, parents=[parent])
        command.set_defaults(run=run)
        return command

    add("status", "Show the node, its head and its peers.", client, run_status)
    command = add("post", "Publish a post and wait until it is final.", signer, run_post)
    command.add_argument("text")
    command.add_argument("--tag", action="append", default=[], help="a topic; may be given up to 5 times")
    command = add("reply", "Answer a post.", signer, run_reply)
    command.add_argument("post", help="the post's id, evt1…")
    command.add_argument("text")
    command = add("erase", "Have the text of one's post erased, on every node and for ever.", signer, run_erase)
    command.add_argument("post", help="the post's id, evt1…")
    command = add("like", "Like a post, or take the like back.", signer, run_like)
    command.add_argument("post", help="the post's id, evt1…")
    command.add_argument("--withdraw", action="store_true")
    command = add("follow", "Follow an account, or stop following it.", signer, run_follow)
    command.add_argument("account", help="acct1… or a handle")
    command.add_argument("--stop", action="store_true")
    command = add("transfer", "Transfer FLX to another account.", signer, run_transfer)
    command.add_argument("account", help="acct1… or a handle")
    command.add_argument("amount", help="in FLX, e.g. 2.5")
    command = add("join", "Create the account of a wallet key, and claim a handle.", signer, run_join)
    command.add_argument("--handle", help="3 to 24 of a-z 0-9 _")
    command = add("feed", "Show the newest posts.", client, run_feed)
    command.add_argument("--limit", type=int, default=FEED_LIMIT)
    command.add_argument("--at", type=int, help="as of this height")
    command = add("event", "Show one event: its receipt, inputs and guard verdicts.", client, run_event)
    command.add_argument("event", help="evt1…")


def run_status(given: argparse.Namespace, output: Output) -> int:
    client = client_of(given)[1]
    status = client.get("/node/status")
    if output.document(status):
        return 0
    standing = "[green]height advances[/green]" if status["healthy"] else f"[red]{plain(status['why_unhealthy'])}[/red]"
    output.facts(
        [
            ("node", f"{status['name']} ({status['role']}, version {status['version']})"),
            ("health", standing),
            ("height", f"{status['height']} (certified {status['certified_height']})"),
            ("consensus", _describe_consensus(status)),
            ("waiting events", status["mempool_events"]),
            *_describe_abstention(status),
            *_describe_history(status),
        ]
    )
    alert = status["alert"]
    if alert is not None:
        output.facts(
            [
                ("alert", f"[red]{alert['code']}: serves reads only[/red]"),
                ("found", f"{plain(alert['why'])} (height {alert['height']})"),
                ("seal", alert["seal"]),
                ("remedy", plain(alert["remedy"])),
            ]
        )
    rows = [
        (short(peer["public_key"]), peer["role"], peer["address"], peer["height"], peer["rtt_ms"] or "")
        for peer in status["peers"]
    ]
    output.table("peers", ("key", "role", "address", "height", "rtt ms"), rows)
    return 0


def _describe_abstention(status: dict[str, Any]) -> list[tuple[str, object]]:
    """Return a line about a replica that votes for nothing yet, because it may have forgotten a vote."""
    return (
        [("votes", "[yellow]abstains until what it may have forgotten is past[/yellow]")] if status["abstains"] else []
    )


def _describe_history(status: dict[str, Any]) -> list[tuple[str, object]]:
    """Return a line about older blocks that a node which began from a snapshot still lacks; none when it has all."""
    missing = status["history_missing"]
    return [("history", f"[yellow]{missing} older blocks are being fetched[/yellow]")] if missing else []


def _describe_consensus(status: dict[str, Any]) -> str:
    if status["halted"]:
        return f"[red]stopped voting: {status['halted']}[/red]"
    if status["replica"] is None:
        return "follows the validators"
    return f"replica {status['replica']}, view {status['view']}, primary is replica {status['primary']}"


def run_post(given: argparse.Namespace, output: Output) -> int:
    body = {"tags": given.tag}
    return sign_and_submit(given, output, "content.PostPublished", body, text=given.text)


def run_reply(given: argparse.Namespace, output: Output) -> int:
    return sign_and_submit(given, output, "content.ReplyPublished", {"parent": given.post}, text=given.text)


def run_erase(given: argparse.Namespace, output: Output) -> int:
    found = client_of(given)[1].get(f"/posts/{given.post}")["post"]
    if found["erased"]:
        raise UsageError(f"{given.post}: its text was erased already")
    body = {"content": found["content"], "subject": given.post}
    return sign_and_submit(given, output, "content.PayloadErased", body)


def run_like(given: argparse.Namespace, output: Output) -> int:
    kind = "graph.LikeWithdrawn" if given.withdraw else "graph.ContentLiked"
    return sign_and_submit(given, output, kind, {"target": given.post})


def run_follow(given: argparse.Namespace, output: Output) -> int:
    kind = "graph.AccountUnfollowed" if given.stop else "graph.AccountFollowed"
    target = resolve_account(client_of(given)[1], given.account)
    return sign_and_submit(given, output, kind, {"target": target})


def run_transfer(given: argparse.Namespace, output: Output) -> int:
    try:
        atoms = parse_decimal(given.amount)
    except ValueError as error:
        raise UsageError(f"amount: {error}") from error
    target = resolve_account(client_of(given)[1], given.account)
    body = {"atoms": str(atoms), "to": target, "token": "FLX"}
    return sign_and_submit(given, output, "economics.TokensTransferred", body)


def run_join(given: argparse.Namespace, output: Output) -> int:
    home, client = client_of(given)
    account = account_text_of(home, home.open_key(given.key))
    code = 0
    try:
        client.get(f"/profiles/{account}")
    except ApiProblem as problem:
        if problem.status != 404:
            raise
        code = sign_and_submit(given, output, "identity.IdentityCreated", {})
    else:
        if not given.handle:
            raise UsageError(f"the account of {given.key} exists already: {account}")
    if code == 0 and given.handle:
        code = sign_and_submit(given, output, "identity.HandleClaimed", {"handle": given.handle})
    return code


def run_feed(given: argparse.Namespace, output: Output) -> int:
    page = client_of(given)[1].get("/feed", limit=given.limit, at=given.at)
    if output.document(page):
        return 0
    for item in page["items"]:
        name = f"@{item['handle']}" if item["handle"] else short(item["author"])
        text = item["text"] if item["text"] is not None else "(erased)"
        output.line(
            f"[bold]{name}[/bold] "
            f"[dim]height {item['height']} · {item['likes']} likes · {item['replies']} replies[/dim]"
        )
        output.line(plain(text))
        output.line(f"[dim]{item['post_id']}[/dim]\n")
    output.line(f"[dim]chronological, as of height {page['ledger']['height']}[/dim]")
    return 0


def run_event(given: argparse.Namespace, output: Output) -> int:
    event = client_of(given)[1].get(f"/ledger/events/{given.event}")
    if output.document(event):
        return 0
    print_receipt(event["receipt"], output)
    return 0


def print_receipt(receipt: dict[str, Any], output: Output) -> None:
    """Print a receipt: what, where, why."""
    output.facts(
        [
            ("event", receipt["event_id"]),
            ("type", f"{receipt['event_type']} version {receipt['event_version']}"),
            ("author", receipt["author"]),
            ("place", f"height {receipt['height']}, index {receipt['index']}, log {receipt['log_index']}"),
            ("outcome", outcome(receipt["outcome"])),
            ("because", plain(receipt["explanation"])),
        ]
    )
    for name, value in receipt["inputs"].items():
        output.line(f"  [dim]input[/dim]  {name} = {plain(value)}")
    for verdict in receipt["verdicts"]:
        mark = "[green]allows[/green]" if verdict["allowed"] else "[yellow]denies[/yellow]"
        facts = plain(", ".join(f"{name} {value}" for name, value in verdict["facts"].items()))
        output.line(f"  [dim]guard[/dim]  {mark} {verdict['code']}  [dim]{facts}[/dim]")


def client_of(given: argparse.Namespace) -> tuple[Home, ApiClient]:
    """Return the home that a command names, and a client of its node."""
    home = find_home(given.home, given.url)
    return home, ApiClient(home.url)


def sign_and_submit(
    given: argparse.Namespace, output: Output, kind: str, body: dict[str, Any], text: str | None = None
) -> int:
    """Prepare an event at the node, check and sign it here, submit it, and wait until it is final."""
    home, client = client_of(given)
    key = home.open_key(given.key)
    request: dict[str, Any] = {"type": kind, "key": key.public.hex(), "body": body}
    if text is not None:
        request["text"] = text
    prepared = client.post("/events/prepare", request)
    signed = sign_prepared(home, key, prepared)
    answer = client.post("/events?wait=final", {"events": [signed]})
    result = answer["results"][0]
    if output.document(result):
        return 0 if result["status"] == "final" and result["receipt"]["outcome"] == "applied" else 1
    if result["status"] != "final":
        output.line(f"{outcome(result['status'])} {result['event_id']}")
        return 1
    print_receipt(result["receipt"], output)
    return 0 if result["receipt"]["outcome"] == "applied" else 1


def sign_prepared(home: Home, key: SigningKey, prepared: dict[str, Any]) -> dict[str, Any]:
    """Return the signed form of what `prepare` gave.

    The key never leaves this process, and nothing is signed on another chain than the trusted genesis'.
    """

    event = bytes.fromhex(prepared["event"])
    chain_id = compute_chain_id(home.read_genesis())
    if encode_id(IdKind.EVENT, compute_event_id(event)) != prepared["event_id"]:
        raise UsageError("the node's prepared event is not the one that its id names; nothing was signed")
    signature = key.sign(chain_id, Purpose.EVENT, event)
    return {"event": prepared["event"], "signature": signature.hex(), "payload": prepared["payload"]}


def account_text_of(home: Home, key: SigningKey) -> str:
    """Return the account id that a key has on the home's chain."""

    return encode_id(IdKind.ACCOUNT, compute_account_id(compute_chain_id(home.read_genesis()), key.public))


def resolve_account(client: ApiClient, text: str) -> str:
    """Return the account that an id or a handle names."""
    if text.startswith("acct1"):
        return text
    account: str = client.get(f"/profiles/{text.removeprefix('@')}")["account"]
    return account
