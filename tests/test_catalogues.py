"""The catalogues in docs/ say all that the registries hold."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from guards.economics import EMISSION_CODES
from ledger.policies import KINDS
from node.modules import make_registry

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "make_catalogues.py"
# The tool is a script and no package: it is run as one, on a folder of its own.
RUN = (
    "import runpy, sys, pathlib; sys.exit(runpy.run_path(sys.argv[1])['main'](sys.argv[3:], pathlib.Path(sys.argv[2])))"
)


def run_tool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(TOOL), str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("docs")
    result = run_tool(made)
    assert result.returncode == 0, result.stderr
    return made


def test_every_event_is_in_its_catalogue(folder: Path) -> None:
    text = (folder / "events.md").read_text(encoding="utf-8")

    for kind in make_registry().all():
        assert f"## {kind.name} version {kind.version}\n" in text


def test_every_guard_is_in_order_with_its_codes_and_aegis_is_last(folder: Path) -> None:
    text = (folder / "guards.md").read_text(encoding="utf-8")
    guards = make_registry().stack.all()

    places = [text.index(f"## {guard.name} version {guard.version}\n") for guard in guards]
    assert places == sorted(places)
    assert guards[-1].name == "aegis"
    for code in [*EMISSION_CODES, *(code for guard in guards for code in guard.codes)]:
        assert f"| `{code}` |" in text


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_field_of_a_policy_is_in_its_section(folder: Path, name: str) -> None:
    text = (folder / "policies.md").read_text(encoding="utf-8")

    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    for field in dataclasses.fields(KINDS[name]):
        assert f"| `{field.name}` |" in section


def test_check_passes_on_what_was_made_and_fails_on_a_changed_file_with_the_remedy(tmp_path: Path) -> None:
    run_tool(tmp_path)
    assert run_tool(tmp_path, "--check").returncode == 0
    (tmp_path / "guards.md").write_text("changed", encoding="utf-8")

    result = run_tool(tmp_path, "--check")

    assert result.returncode == 1
    assert result.stderr == "guards.md: the registries changed: run make catalogues\n"
