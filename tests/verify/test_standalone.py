"""The verifier for third parties stands alone: short, without the node, with pynacl as its only library."""

import ast
import io
import json
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import nacl
import pytest

from ledger.bundles import encode_csv
from ledger.genesis import encode_genesis_file
from tests.verify.bundle_files import Bundles, decode
from tests.verify.conftest import Proofs

FOLDER = Path(__file__).resolve().parents[2] / "atlas_verify"
TABLES = FOLDER.parent / "atlas_tables"
CODE_LINES_MAX = 400
TABLES_LINES_MAX = 200
RUN = "import runpy, sys; sys.path.insert(0, {folder!r}); runpy.run_module({module!r}, run_name='__main__')"


def count_code_lines(path: Path) -> int:
    """Return how many lines hold code: not blank, no comment, no docstring."""
    source = path.read_text(encoding="utf-8")
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_it_has_at_most_400_lines_of_code() -> None:
    assert sum(count_code_lines(path) for path in sorted(FOLDER.rglob("*.py"))) <= CODE_LINES_MAX


def test_what_computes_the_rows_of_bundles_has_at_most_200_more() -> None:
    assert sum(count_code_lines(path) for path in sorted(TABLES.rglob("*.py"))) <= TABLES_LINES_MAX


def list_imported(folder: Path) -> set[str]:
    """Return the top-level names of what the files of a folder import."""
    imported: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                imported.add((node.module or "").partition(".")[0])

    return imported - sys.stdlib_module_names


def test_it_imports_the_standard_library_and_pynacl_alone() -> None:
    assert list_imported(FOLDER) == {"atlas_verify", "nacl"}
    assert list_imported(TABLES) == {"atlas_tables", "atlas_verify"}


@pytest.fixture(scope="module")
def island(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the verifier, pynacl, and what pynacl itself imports."""
    folder = tmp_path_factory.mktemp("island")
    for own in (FOLDER, TABLES):
        (folder / own.name).symlink_to(own)
    installed = Path(nacl.__path__[0]).parent
    for path in (installed / "nacl", *installed.glob("_cffi_backend*")):
        (folder / path.name).symlink_to(path)
    return folder


def make_command(island: Path, *arguments: str, module: str = "atlas_verify") -> list[str]:
    return [sys.executable, "-I", "-S", "-c", RUN.format(folder=str(island), module=module), *arguments]


def run(island: Path, *arguments: str, module: str = "atlas_verify") -> subprocess.CompletedProcess[str]:
    command = make_command(island, *arguments, module=module)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def files(proofs: Proofs, tmp_path: Path) -> tuple[Path, Path]:
    proof, genesis = tmp_path / "a.proof", tmp_path / "genesis.json"
    proof.write_bytes(proofs.of_posts[1])
    genesis.write_bytes(encode_genesis_file(proofs.world.chain.genesis))
    return proof, genesis


def test_nothing_of_the_node_can_be_imported_there(island: Path) -> None:
    for name in ("ledger", "consensus", "msgpack", "orjson", "ed25519_zebra"):
        code = f"import sys; sys.path.insert(0, {str(island)!r}); import {name}"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in done.stderr, name


def test_it_runs_there_and_tells_what_is_proven(island: Path, files: tuple[Path, Path]) -> None:
    proof, genesis = files

    done = run(island, str(proof), "--genesis", str(genesis))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("valid\n")
    assert "outcome: applied" in done.stdout


def test_it_answers_programs_in_json(island: Path, files: tuple[Path, Path]) -> None:
    proof, genesis = files

    done = run(island, str(proof), "--genesis", str(genesis), "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["valid"] is True
    assert json.loads(done.stdout)["era"] == 1


def test_a_changed_file_ends_with_1_and_one_line_that_names_the_member(island: Path, files: tuple[Path, Path]) -> None:
    proof, genesis = files
    document = json.loads(proof.read_bytes())
    changed = document["signature"][:-1] + ("0" if document["signature"][-1] != "0" else "1")
    proof.write_bytes(proof.read_bytes().replace(document["signature"].encode(), changed.encode()))

    done = run(island, str(proof), "--genesis", str(genesis))
    as_json = run(island, str(proof), "--genesis", str(genesis), "--json")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("invalid: signature: ")
    assert done.stderr.count("\n") == 1
    assert (as_json.returncode, json.loads(as_json.stdout)["valid"]) == (1, False)


def test_wrong_use_ends_with_2(island: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    proof, genesis = files

    assert run(island, str(proof)).returncode == 2
    assert run(island, str(tmp_path / "missing"), "--genesis", str(genesis)).returncode == 2
    assert run(island, str(proof), "--genesis", str(proof)).returncode == 2


def test_a_file_that_is_not_there_is_named_with_what_to_do(
    island: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    done = run(island, str(tmp_path / "missing"), "--genesis", str(files[1]))

    assert done.stderr.startswith(f"error: {tmp_path / 'missing'}: expected a file to read: ")
    assert done.stderr.endswith("check its name\n")
    assert "Errno" not in done.stderr


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_reader_who_stops_early_is_no_error(island: Path, files: tuple[Path, Path], as_json: list[str]) -> None:
    proof, genesis = files
    command = make_command(island, str(proof), "--genesis", str(genesis), *as_json)
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["wallet", "events", "endorsed post"])
def test_bundles_are_checked_there_and_their_rows_computed_again(
    island: Path, bundles: Bundles, name: str, tmp_path: Path
) -> None:
    file, genesis, csv = (tmp_path / name for name in ("a.json", "genesis.json", "a.csv"))
    document = decode(bundles.files[name])
    file.write_bytes(bundles.files[name])
    genesis.write_bytes(encode_genesis_file(bundles.world.chain.genesis))
    csv.write_bytes(encode_csv(document["columns"], document["rows"]))
    given = (str(file), "--genesis", str(genesis), "--csv", str(csv))

    proofs_alone, all_of_it = run(island, *given), run(island, *given, module="atlas_tables")
    assert (proofs_alone.returncode, all_of_it.returncode, all_of_it.stderr) == (0, 0, "")
    assert "rows say: what the node says" in proofs_alone.stdout
    assert "rows say: what follows from the events and the state" in all_of_it.stdout

    rows = [*document["rows"][:-1], [*document["rows"][-1][:-1], "9" * 20]]
    file.write_bytes(bundles.sign_again(document | {"rows": rows, "columns": document["columns"][::-1]}))
    lie = run(island, *given[:3], module="atlas_tables")
    assert (lie.returncode, lie.stdout, lie.stderr.count("\n")) == (1, "", 1)


def test_other_proofs_are_checked_by_both(island: Path, files: tuple[Path, Path]) -> None:
    proof, genesis = files
    given = (str(proof), "--genesis", str(genesis))

    assert run(island, *given).stdout == run(island, *given, module="atlas_tables").stdout
