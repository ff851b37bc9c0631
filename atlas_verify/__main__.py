"""Check one proof file against one genesis file: exit code 0 when it is valid, 1 when not, 2 for wrong use."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlas_verify.canonical import Invalid
from atlas_verify.chain import Validators, read_genesis
from atlas_verify.documents import DOCUMENT_BYTES_MAX, verify


def main(check: Callable[[bytes, Validators, bytes | None], dict[str, Any]] = verify) -> int:
    """Verify, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {check.__module__.partition('.')[0]}", description=__doc__)
    parser.add_argument("file", type=Path, help="the proof file")
    parser.add_argument("--genesis", type=Path, required=True, help="the genesis file of the chain that you trust")
    parser.add_argument("--csv", type=Path, help="the CSV file that came with a bundle: says it the same?")
    parser.add_argument("--json", action="store_true", help="print one JSON document for programs")
    given = parser.parse_args()
    try:
        genesis, data = read_genesis(_read(given.genesis)), _read(given.file)
        csv = _read(given.csv) if given.csv else None
    except Invalid as error:
        return _end(2, given.json, {"error": str(error)})
    try:
        return _end(0, given.json, {"valid": True, **check(data, genesis, csv)})
    except Invalid as error:
        return _end(1, given.json, {"valid": False, "error": str(error)})


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        raise Invalid(f"{path}: expected a file to read: {error.strerror}; check its name") from error


def _end(code: int, as_json: bool, found: dict[str, Any]) -> int:
    try:
        if as_json:
            print(json.dumps(found), flush=True)
        elif code:
            print(f"{'invalid' if code == 1 else 'error'}: {found['error']}", file=sys.stderr)
        else:
            lines = [f"  {name.replace('_', ' ')}: {value}" for name, value in list(found.items())[1:]]
            shown = ["".join(letter if letter.isprintable() else "?" for letter in line) for line in lines]
            print("valid", *shown, sep="\n", flush=True)
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
