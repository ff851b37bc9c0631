"""The Zero-Sim scan finds each planted violation, and nothing where there is none."""

import json
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from tools.zero_sim import EXEMPT, FOLDERS, ROOT, STORE_USERS, Finding, scan_paths, scan_source


def scan(text: str, path: str = "ledger/planted.py") -> list[Finding]:
    return scan_source(text, PurePosixPath(path))


def rules(text: str, path: str = "ledger/planted.py") -> list[str]:
    return [finding.rule for finding in scan(text, path)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_our_own_tree_is_clean(folder: str) -> None:
    findings = scan_paths([ROOT / folder])

    assert findings == [], "\n".join(str(finding) for finding in findings)


PLANTED = [
    # Imports.
    ("import", "import random"),
    ("import", "import time as t"),
    ("import", "import math"),
    ("import", "from datetime import datetime"),
    ("import", "import os.path"),
    ("import", "import importlib"),
    ("import", "import numpy"),
    ("import", "import msgpack"),
    ("import", "from nacl.signing import SigningKey"),
    ("import", "import json"),
    ("import", "import trio"),
    ("import", "def f():\n    import secrets"),
    ("import", "from . import events"),
    ("import", "from ledger.store import Store"),
    ("import", "from ledger import store"),
    ("import", "import ledger.store as s"),
    ("import", "from node import run"),
    ("import", "from guards.safety import check"),
    ("wildcard-import", "from ledger.events import *"),
    # Numbers.
    ("float", "x = 1.5"),
    ("float", "x = 1e3"),
    ("float", "x = 2j"),
    ("float", "x = float(1)"),
    ("float", "x = list(map(float, [1]))"),
    ("float", "def f(x: float) -> int: ..."),
    ("float", "x = round(3)"),
    ("float", "x = 2 ** -1"),
    ("float", "x = pow(2, -1)"),
    ("float", "x = pow(2, 0.5)"),
    ("float", "x = f'{3:.2f}'"),
    ("float", "x = f'{3:%}'"),
    ("true-division", "x = 1 / 2"),
    ("true-division", "x = 4\nx /= 2"),
    ("true-division", "from operator import truediv\nx = truediv(1, 2)"),
    # Calls.
    ("hash", "x = hash('a')"),
    ("hash", "x = sorted(['a'], key=hash)"),
    ("id", "x = id('a')"),
    ("input-output", "x = open('a')"),
    ("input-output", "x = input()"),
    ("input-output", "print('a')"),
    ("dynamic-code", "eval('1')"),
    ("dynamic-code", "exec('1')"),
    ("dynamic-code", "__import__('os')"),
    ("dynamic-code", "x = globals()"),
    ("dynamic-code", "x = __builtins__"),
    ("dynamic-code", "import hashlib\nx = getattr(hashlib, 'sha256')"),
    ("dynamic-code", "import struct as s\nsetattr(s, 'a', 1)"),
    # Order.
    ("order", "for x in {1, 2}: ..."),
    ("order", "for x in set('ab'): ..."),
    ("order", "for x in frozenset('ab'): ..."),
    ("order", "s = {1, 2}\nfor x in s: ..."),
    ("order", "s = {1, 2}\nt = s\nfor x in t: ..."),
    ("order", "s = {1, 2}\nfor x in s | {3}: ..."),
    ("order", "s = {1, 2}\nfor x in s.union([3]): ..."),
    ("order", "d = {}\nfor x in d.keys() - [1]: ..."),
    ("order", "def f(s: set[bytes]) -> None:\n    for x in s: ..."),
    ("order", "from collections.abc import Set\ndef f(s: Set[bytes]) -> None:\n    for x in s: ..."),
    ("order", "class A:\n    seen: frozenset[bytes]\n    def f(self):\n        return [x for x in self.seen]"),
    ("order", "class A:\n    def __init__(self): self.s: set[int] = set()\n    def f(self): return list(self.s)"),
    ("order", "x = [a for a in {1, 2}]"),
    ("order", "x = {a: 1 for a in {1, 2}}"),
    ("order", "x = list({1, 2})"),
    ("order", "x = tuple({1, 2})"),
    ("order", "x = next(iter({1, 2}))"),
    ("order", "x = b''.join({b'a', b'b'})"),
    ("order", "x = ','.join(a for a in {'a', 'b'})"),
    ("order", "x = [*{1, 2}]"),
    ("order", "x = list(enumerate({1, 2}))"),
    ("order", "x = dict.fromkeys({1, 2})"),
    ("order", "s = {1, 2}\nx = s.pop()"),
    ("order", "x = sorted({'a', 'b'}, key=len)"),
    ("order", "x = max({'a', 'b'}, key=len)"),
    ("order", "x = sorted((a for a in {'a', 'b'}), key=len)"),
    ("order", "d = {}\nfor k, v in d.items(): ..."),
    ("order", "d = {}\nfor k in d.keys(): ..."),
    ("order", "d = {}\nfor v in d.values(): ..."),
    ("order", "d = {}\nx = [v for v in d.values()]"),
    ("order", "d = {}\nx = list(d.values())"),
    ("order", "d = {}\nfor v in d.values():  # order:\n    ..."),
    ("order", "d = {}\ntext = '# order: not a comment'\nfor v in d.values(): text = '# order: no'"),
    # State and errors.
    ("global", "n = 0\ndef f():\n    global n\n    n = 1"),
    ("bare-except", "try: ...\nexcept: ..."),
    ("mutable-default", "def f(x=[]): ..."),
    ("mutable-default", "def f(*, x={}): ..."),
    ("mutable-default", "def f(x=set()): ..."),
    ("mutable-default", "from collections import deque\ndef f(x=deque()): ..."),
    ("mutable-default", "f = lambda x=[]: x"),
    ("environment", "import os\nx = os.environ['A']"),
    ("environment", "from os import getenv\nx = getenv('A')"),
    ("environment", "import os as o\ne = o\nx = e.environ"),
    ("await", "async def f(): ..."),
    ("await", "async def f(g):\n    await g()"),
    ("syntax", "def f(:"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "text"), PLANTED, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(PLANTED)]
)
def test_a_planted_violation_is_found(rule: str, text: str) -> None:
    assert rule in rules(text)


ALIASES = [
    ("float", "f = float\nx = f(1)", 2),
    ("float", "f = float\ng = f\ndef h():\n    return g(1)", 4),
    ("float", "from builtins import float as number\nx = number(1)", 2),
    ("float", "import builtins as b\nx = b.float(1)", 2),
    ("hash", "def f():\n    h = hash\n    return h('a')", 3),
    ("input-output", "(p := print)\np('a')", 2),
    ("dynamic-code", "e: object = eval\ne('1')", 2),
    ("true-division", "import operator as o\ndiv = o.truediv\nx = div(1, 2)", 3),
    ("order", "s = frozenset\nfor x in s('ab'): ...", 2),
]


@pytest.mark.parametrize(("rule", "text", "line"), ALIASES)
def test_an_alias_hides_nothing(rule: str, text: str, line: int) -> None:
    assert (rule, line) in [(finding.rule, finding.line) for finding in scan(text)]


@pytest.mark.parametrize(
    "text",
    [
        "from dataclasses import dataclass\nfrom collections.abc import Sequence\nimport hashlib",
        "from ledger.primitives.hashing import tagged_hash\nimport ledger.events",
        "from ledger import primitives",
        "def f(hash: bytes, id: int, input: str) -> object:\n    return hash, id, input",
        "class A:\n    hash: bytes\n    def round(self): ...\ndef f(a): return a.hash, a.round(), a.id",
        "def f(x): return getattr(x, 'name')",
        "x = 7 // 2\nx //= 2\ny = 2 ** 64\nz = pow(3, -1, 7)\nw = f'{x:018d} {x:x}'",
        "for x in sorted({1, 2}): ...",
        "d = {}\nfor k, v in sorted(d.items()): ...",
        "d = {}\nfor k, v in sorted(d.items(), key=lambda item: item[0]): ...",
        "d = {}\nfor v in d.values():  # order: filled in the order of the log\n    ...",
        "d = {}\nx = [\n    v\n    for v in d.values()  # order: filled in the order of the log\n]",
        "d = {}\nx = sum(v for v in d.values()) + max(d.values()) + len({1})",
        "x = any(a > 1 for a in {1, 2}) and 1 in {1, 2}",
        "x = sorted(a + 1 for a in {1, 2})",
        "x = sorted(list({1, 2}))",
        "x = {a + 1 for a in {1, 2}}",
        "for x in [1, 2]: ...\nfor y in 'ab': ...\nfor z in range(3): ...",
        "s = [1]\nt = s.pop()",
        "def f(x=(), y=None, z=frozenset()): ...",
        "try: ...\nexcept ValueError: ...",
        "text = 'float(1) / 2.5'",
        "def f(float): return float",
        "# x = time.time() / 2.5",
        '"""time.time() and open(path) are banned here: float(x), hash(x)."""',
        "class Clock:\n    def time(self) -> int: ...\ndef f(clock: Clock) -> int: return clock.time()",
        "def f(print: int) -> int: return print + 1",
        "import functools\n@functools.lru_cache(8)\ndef f(x: int) -> int: return x",
        "x = {'b': 1, 'a': 2}\nfor k in sorted(x): ...",
        "a, b = divmod(7, 2)\nc = -7 // 2 + 7 % 2 + (7 >> 1)",
        "x = min({3, 1}) + sum({1, 2})",
        "NAMES = ('a', 'b')\nLIMITS = frozenset({1, 2})\ny = 1 in LIMITS",
        "import re\nx = re.compile('open|eval').sub('', 'id(x)')",
    ],
)
def test_code_that_keeps_the_rules_is_not_accused(text: str) -> None:
    assert [str(finding) for finding in scan(text)] == []


@pytest.mark.parametrize(
    ("path", "text", "allowed"),
    [
        ("ledger/primitives/encoding.py", "import msgpack", True),
        ("ledger/primitives/hashing.py", "import msgpack", False),
        ("ledger/primitives/lthash.py", "import numpy\nfrom blake3 import blake3\nfrom numpy.typing import A", True),
        ("ledger/state_digest.py", "import numpy", False),
        ("ledger/primitives/text.py", "import unicodedata", True),
        ("ledger/coherence.py", "import unicodedata", False),
        ("ledger/primitives/signing.py", "import ed25519_zebra", True),
        ("consensus/replica.py", "import ed25519_zebra", False),
        ("ledger/primitives/ids.py", "from ledger.events import Event", False),
        ("ledger/block.py", "from ledger.events import Event", True),
        ("consensus/replica.py", "from ledger.events import Event", False),
        ("consensus/replica.py", "from ledger.primitives.hashing import tagged_hash", True),
        ("consensus/replica.py", "from consensus.messages import Prepare", True),
        ("guards/economics.py", "from ledger.events import Event", True),
        ("guards/economics.py", "from social.posts import EVENTS", False),
        ("social/posts.py", "from guards.safety import text_is_safe", True),
        ("social/posts.py", "from ledger.store import Store", False),
        ("social/posts.py", "import client_api", False),
    ],
)  # fmt: skip
def test_who_may_import_what_depends_on_the_folder(path: str, text: str, allowed: bool) -> None:
    assert rules(text, path) == ([] if allowed else ["import"])


def test_the_store_is_exempt_and_the_reason_is_written_down() -> None:
    assert scan("import plyvel\nx = open('a')", "ledger/store.py") == []
    assert all(EXEMPT.values())
    assert all(STORE_USERS.values())


def test_the_chain_may_import_the_store_and_nothing_else_is_forgiven_it() -> None:
    assert rules("from ledger.store import Store", "ledger/chain.py") == []
    assert rules("import plyvel\nfrom ledger.store import Store\nx = 1.5", "ledger/chain.py") == ["import", "float"]
    assert rules("from ledger.store import Store", "ledger/proofs.py") == ["import"]


def test_only_what_reads_and_writes_files_imports_a_json_library() -> None:
    assert rules("import orjson", "ledger/certified.py") == []
    assert rules("import orjson", "ledger/receipts.py") == ["import"]


def test_a_finding_says_where_what_and_what_to_do() -> None:
    (finding,) = scan("x = 1\n\ny = x / 2\n")

    assert str(finding).startswith("ledger/planted.py:3: true-division: x / 2; use //")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools" / "zero_sim.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_findings_and_fails(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("import random\nx = random.random() / 2\n")

    lines = run(str(tmp_path))
    as_json = run("--json", str(planted))

    assert (lines.returncode, as_json.returncode) == (1, 1)
    assert f"{planted}:1: import: import of random" in lines.stdout
    assert [finding["rule"] for finding in json.loads(as_json.stdout)] == ["import", "true-division"]


def test_the_command_is_content_with_the_ledger() -> None:
    done = run(str(ROOT / "ledger"))

    assert (done.returncode, done.stdout) == (0, "")


def test_the_command_refuses_a_path_that_does_not_exist() -> None:
    assert run("no/such/folder").returncode == 2
