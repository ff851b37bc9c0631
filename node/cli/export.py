"""Commands that write signed bundles: export wallet, events, ranking; each as JSON that proves itself, and as CSV."""

import argparse
from pathlib import Path
from typing import Any

from ledger.bundles import decode_bundle, encode_csv
from ledger.certified import ProofInvalid
from node.cli.home import UsageError
from node.cli.output import Output, plain
from node.cli.people import client_of

PAGES_MAX = 1_000
FILTERS = ("type", "module", "author", "outcome", "from_height", "to_height")


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the commands of this file."""
    text = "Write what a node knows as files that anyone can check offline: NAME.json and its twin NAME.csv."
    export = commands.add_parser("export", help=text, description=text)
    subjects: Any = export.add_subparsers(title="what", metavar="WHAT", required=True)

    def add(name: str, help: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = subjects.add_parser(name, help=help, description=help, parents=[shared])
        command.add_argument("-o", "--output", metavar="NAME", help=f"names of the files (default: {name})")
        command.add_argument("--home", help="folder with client.json (default: build/devnet or ~/.atlas)")
        command.add_argument("--url", help="the node's API (default: from client.json)")
        command.set_defaults(run=run_export, subject=name)
        return command

    def add_pages(command: argparse.ArgumentParser) -> None:
        command.add_argument("--limit", type=int, default=100, help="events in one file (default: 100, at most 256)")
        command.add_argument("--pages", type=int, default=1, help="so many files, the newest first (default: 1)")
        command.add_argument("--cursor", help="go on where a file ended: its `next`")

    command = add("wallet", "Every change of an account's balances, with what proves it.")
    command.add_argument("account", help="acct1…, or a handle")
    add_pages(command)
    command = add("events", "Events and their receipts, with filters.")
    for name in FILTERS:
        command.add_argument(f"--{name.replace('_', '-')}", help="as in GET /api/v1/ledger/events")
    add_pages(command)
    command = add("ranking", "What a post's rank is made of.")
    command.add_argument("post", help="evt1…")


def run_export(given: argparse.Namespace, output: Output) -> int:
    subject: str = given.subject
    pages: int = getattr(given, "pages", 1)
    if not 1 <= pages <= PAGES_MAX:
        raise UsageError(f"--pages: expected 1 to {PAGES_MAX}, got {pages}")
    _, client = client_of(given)
    path, query = _make_request(given)
    cursor: str | None = getattr(given, "cursor", None)
    written: list[dict[str, object]] = []
    for number in range(1, pages + 1):
        data = client.get_bytes(path, **query, cursor=cursor)
        try:
            document = decode_bundle(data)
        except ProofInvalid as error:
            raise ProofInvalid(f"the node's answer is no bundle, so nothing was written: {error}") from error
        name = (given.output or subject) + ("" if number == 1 else f"-{number}")
        table = encode_csv(document["columns"], document["rows"])
        for suffix, content in ((".json", data), (".csv", table)):
            Path(name + suffix).write_bytes(content)
        cursor = document["next"]
        written.append({"file": f"{name}.json", "csv": f"{name}.csv", "rows": len(document["rows"]), "next": cursor})
        if cursor is None:
            break
    if not output.document({"written": written}):
        for each in written:
            output.line(f"[green]written[/green] {each['file']} and {each['csv']}: {each['rows']} rows")
        output.line(f"check it with `atlas verify {plain(written[0]['csv'])}`, which reads both")
        if cursor is not None:
            output.line(f"[dim]there is more: add --pages, or --cursor {plain(cursor)}[/dim]")
    return 0


def _make_request(given: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    match given.subject:
        case "wallet":
            account: str = given.account
            return f"/wallets/{account.removeprefix('@')}/export", {"limit": given.limit}
        case "events":
            filters = {f"{name}_" if name == "type" else name: getattr(given, name) for name in FILTERS}
            return "/ledger/events/export", filters | {"limit": given.limit}
        case _:
            return f"/posts/{given.post}/ranking", {}
