"""The audit playbook: every command in it runs on a devnet, and prints what the page says.

In the page's console blocks a line that begins with `$ ` is a command; what follows is its output, in which `…` stands
for anything, and a line of `…` alone for any lines.  Commands of one block share a shell.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.conftest import find_free_port

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


@pytest.fixture
def town(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A devnet with a part of the sample, below the folder that is given; and its gateway's URL."""
    port = find_free_port()
    command = [sys.executable, "-m", "node.cli.main", "devnet", "--folder", "build/devnet", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--posts", "40", "--accounts", "12"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        printed: list[bytes] = []
        for line in process.stdout:
            printed.append(line)
            if b"Ctrl-C stops" in line:
                break
        else:
            raise AssertionError(b"".join(printed).decode())
        yield tmp_path, f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_every_command_of_the_playbook_prints_what_the_page_says(town: tuple[Path, str]) -> None:
    folder, url = town
    steps = read_steps()
    assert len(steps) > 10
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120", "TERM": "dumb",
    }  # fmt: skip
    for command, expected in steps:
        ended = subprocess.run(
            ["bash", "-c", command.replace("http://127.0.0.1:8080", url)],
            cwd=folder, env=environment, capture_output=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip
        printed = [line.rstrip() for line in ended.stdout.decode().splitlines()]
        assert matches(expected, printed), f"$ {command}\n" + "\n".join(printed) + "\n" + ended.stderr.decode()
