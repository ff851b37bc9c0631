"""Check one proof file against one genesis file: exit code 0 when it is valid, 1 when not, 2 for wrong use."""

import argparse
import json
import sys
from pathlib import Path

from atlas_verify.canonical import Invalid
from atlas_verify.chain import read_genesis
from atlas_verify.documents import DOCUMENT_BYTES_MAX, verify


def main() -> int:
    """Verify, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="atlas_verify", description=__doc__)
    parser.add_argument("file", type=Path, help="the proof file")
    parser.add_argument("--genesis", type=Path, required=True, help="the genesis file of the chain that you trust")
    parser.add_argument("--json", action="store_true", help="print one JSON document for programs")
    given = parser.parse_args()
    try:
        genesis = read_genesis(given.genesis.read_bytes())
        with given.file.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
    except (OSError, Invalid) as error:
        return _end(2, given.json, {"error": str(error)})
    try:
        return _end(0, given.json, {"valid": True, **verify(data, genesis)})
    except Invalid as error:
        return _end(1, given.json, {"valid": False, "error": str(error)})


def _end(code: int, as_json: bool, found: dict[str, object]) -> int:
    if as_json:
        print(json.dumps(found))
    elif code:
        print(f"{'invalid' if code == 1 else 'error'}: {found['error']}", file=sys.stderr)
    else:
        print("valid")
        for name, value in list(found.items())[1:]:
            text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
            print(f"  {name.replace('_', ' ')}: {text}")
    return code


if __name__ == "__main__":
    sys.exit(main())
