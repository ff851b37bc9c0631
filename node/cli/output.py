"""What the command line prints: tables and colours for people, one JSON document for programs."""

import sys
from collections.abc import Sequence

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

OUTCOME_STYLE = {"applied": "green", "denied": "yellow", "skipped": "red", "accepted": "cyan", "refused": "red"}


class Output:
    """Prints in one of the two ways."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False)
        self.errors = Console(stderr=True, highlight=False)

    def document(self, value: object) -> bool:
        """Print `value` as JSON and return True when programs are asked for."""
        if self.as_json:
            sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            sys.stdout.flush()
        return self.as_json

    def line(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*[str(cell) for cell in row])
        self.console.print(table)

    def facts(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Print names and values in two columns."""
        width = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            self.console.print(f"[dim]{name:<{width}}[/dim]  {value}", soft_wrap=True)

    def error(self, what: str, remedy: str | None = None) -> None:
        if self.as_json:
            sys.stderr.buffer.write(orjson.dumps({"error": what, "remedy": remedy}, option=orjson.OPT_APPEND_NEWLINE))
            sys.stderr.flush()
            return
        self.errors.print(f"[bold red]error:[/bold red] {what}", soft_wrap=True)
        if remedy:
            self.errors.print(f"[dim]remedy:[/dim] {remedy}", soft_wrap=True)


def outcome(text: str) -> str:
    """Return an outcome in the colour that carries its meaning."""
    style = OUTCOME_STYLE.get(text, "white")
    return f"[{style}]{text}[/{style}]"


def plain(text: object) -> str:
    """Return foreign text so that it can't speak to the terminal: no control characters, no markup of ours."""
    return escape("".join(each if each.isprintable() or each == "\n" else "�" for each in str(text)))


def short(identifier: str, characters: int = 16) -> str:
    """Return the beginning of an id, for tables."""
    return identifier if len(identifier) <= characters else identifier[:characters] + "…"
