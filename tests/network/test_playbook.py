"""The audit playbook: every command in it runs on a devnet, and prints what the page says.

In the page's console blocks a line that begins with `$ ` is a command; what follows is its output, in which `…` stands
for anything, and a line of `…` alone for any lines.  Commands of one block share a shell.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.output import Output
from node.devnet import PASSPHRASE, Devnet, DevnetOptions, load_sample, register_nodes

pytestmark = pytest.mark.network

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit-playbook.md"
COMMAND_S = 120


def read_steps() -> list[tuple[str, list[str]]]:
    """Return each command of the page with the lines that it should print."""
    steps: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            else:
                steps[-1][1].append(line.rstrip())
    return steps


def matches(expected: list[str], printed: list[str]) -> bool:
    """Tell whether the lines are those expected."""
    if not expected:
        return not printed
    if expected[0] == "…":
        return any(matches(expected[1:], printed[at:]) for at in range(len(printed) + 1))
    if not printed:
        return False
    pattern = ".*".join(re.escape(part) for part in expected[0].split("…"))
    return re.fullmatch(pattern, printed[0]) is not None and matches(expected[1:], printed[1:])


def test_every_command_of_the_playbook_prints_what_the_page_says(devnet: Devnet, tmp_path: Path) -> None:
    output = Output(as_json=True)
    register_nodes(devnet, output)
    load_sample(devnet, DevnetOptions(folder=devnet.folder, posts=40, accounts=12), output)
    steps = read_steps()
    assert len(steps) > 10
    folder = Path(sys.executable).parent
    environment = {
        **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "COLUMNS": "120", "TERM": "dumb",
        "ATLAS_PASSPHRASE": PASSPHRASE,
    }  # fmt: skip
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "devnet").symlink_to(devnet.folder)
    for command, expected in steps:
        ended = subprocess.run(
            ["bash", "-c", command.replace("http://127.0.0.1:8080", devnet.gateway.url)],
            cwd=tmp_path, env=environment, capture_output=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip
        printed = [line.rstrip() for line in ended.stdout.decode().splitlines()]
        assert matches(expected, printed), f"$ {command}\n" + "\n".join(printed) + "\n" + ended.stderr.decode()
