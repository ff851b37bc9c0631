"""Zero-Sim: a static scan for what could make two nodes compute different things.

    python tools/zero_sim.py [--json] [paths]

It reads `consensus`, `guards`, `social` and `ledger` (its `store.py` aside), or the files and folders named, and
prints `file:line: rule: what was found; the remedy`.  Exit code 1 when it found anything.  Names are resolved through
imports, `as`, and simple assignments, so an alias hides nothing; a local variable that happens to be called `hash` is
no finding.

Order: iterating a set is found, and iterating `.items()`, `.keys()` or `.values()` too, unless the result cannot depend
on the order (`sorted`, `set`, `len`, `sum`, `min`, `max`, `any`, `all`) or the line says `# order: <reason>`.  That is
a statement of the author's, not a proof.  What a scan cannot see: sets that come from other files without annotation.
"""

import argparse
import ast
import builtins
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("consensus", "guards", "social", "ledger")
EXEMPT = {"ledger/store.py": "it is the one file that touches the disk"}
STORE_USERS = {"ledger/chain.py": "it is the edge that writes what execution gives; every other rule holds for it"}
"""Who may import the store; whoever only reads takes a `ledger.reading.Snapshot`."""

STANDARD = frozenset(
    {
        "__future__", "abc", "base64", "bisect", "collections", "collections.abc", "contextlib", "dataclasses", "enum",
        "functools", "hashlib", "heapq", "hmac", "itertools", "operator", "re", "string", "struct", "types", "typing",
    }
)  # fmt: skip
OWNERS = {
    "blake3": ("ledger/primitives/lthash.py",),
    "ed25519_zebra": ("ledger/primitives/signing.py",),
    "json": ("ledger/primitives/canonical_json.py",),
    "msgpack": ("ledger/primitives/encoding.py",),
    "nacl": ("ledger/primitives/keys.py", "ledger/primitives/sealing.py"),
    "numpy": ("ledger/primitives/lthash.py",),
    "orjson": ("ledger/genesis.py", "ledger/certified.py"),  # file formats; what is hashed is msgpack
    "pqcrypto": ("ledger/primitives/keys.py",),
    "unicodedata": ("ledger/primitives/text.py",),
    "zstandard": ("ledger/archive/compression.py",),  # of files; what is hashed is what they unpack to
}
"""Libraries that one file owns, so that the rest of the code sees our functions only."""
OURS = {
    "ledger/primitives": ("ledger.primitives",),
    "ledger": ("ledger",),
    "guards": ("guards", "ledger"),
    "social": ("social", "guards", "ledger"),
    "consensus": ("consensus", "ledger.primitives"),
}
"""For each folder, the most specific first: which packages of ours it may import."""
STORE = "ledger.store"

BANNED = {
    "builtins.float": ("float", "use integers: atoms of 10**-18, see ledger.primitives.fixed_point"),
    "builtins.complex": ("float", "use integers"),
    "builtins.round": ("float", "use // and say which way it rounds"),
    "operator.truediv": ("true-division", "use operator.floordiv or fixed_point.mul_div_floor"),
    "operator.itruediv": ("true-division", "use operator.ifloordiv or fixed_point.mul_div_floor"),
    "builtins.hash": ("hash", "it differs between processes: use hashing.tagged_hash"),
    "builtins.id": ("id", "it is an address: compare with `is`, or give the thing a number"),
    "builtins.open": ("input-output", "let the node read it, and hand it in as an argument"),
    "builtins.input": ("input-output", "let the node read it, and hand it in as an argument"),
    "builtins.print": ("input-output", "return a value, or an effect that the node carries out"),
    "builtins.breakpoint": ("input-output", "remove it"),
    "builtins.eval": ("dynamic-code", "write the code out"),
    "builtins.exec": ("dynamic-code", "write the code out"),
    "builtins.compile": ("dynamic-code", "write the code out"),
    "builtins.__import__": ("dynamic-code", "import at the top of the file"),
    "builtins.globals": ("dynamic-code", "use a dict of your own"),
    "builtins.locals": ("dynamic-code", "use a dict of your own"),
    "builtins.vars": ("dynamic-code", "name the attributes"),
    "builtins.__builtins__": ("dynamic-code", "name the function"),
    "os.environ": ("environment", "make it a parameter in genesis or a policy"),
    "os.environb": ("environment", "make it a parameter in genesis or a policy"),
    "os.getenv": ("environment", "make it a parameter in genesis or a policy"),
    "sys.argv": ("environment", "make it a parameter in genesis or a policy"),
}
SET_TYPES = frozenset(
    {
        "builtins.set", "builtins.frozenset", "typing.Set", "typing.FrozenSet", "typing.AbstractSet",
        "typing.MutableSet", "collections.abc.Set", "collections.abc.MutableSet",
    }
)  # fmt: skip
SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
ORDER_FREE = frozenset(
    f"builtins.{name}" for name in ("sorted", "set", "frozenset", "len", "sum", "min", "max", "any", "all")
)
ORDER_ESCAPES = frozenset(
    {f"builtins.{name}" for name in ("list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed")}
    | {"builtins.dict.fromkeys", "functools.reduce", "itertools.chain", "itertools.islice", "itertools.accumulate"}
    | {"itertools.chain.from_iterable", "collections.deque", "collections.OrderedDict"}
)
MUTABLE_MAKERS = frozenset(f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")) | frozenset(
    f"collections.{name}" for name in ("defaultdict", "deque", "Counter", "OrderedDict")
)
ORDER_REMEDY = "wrap it in sorted(), or say `# order: <why it is the same on every node>`"

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that breaks a rule."""

    path: str
    line: int
    rule: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.found}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Binding:
    """What a name was bound to, as far as it shows: an imported dotted name, an expression, or an annotation."""

    imported: str | None = None
    value: ast.expr | None = None
    annotation: ast.expr | None = None


@dataclass(slots=True)
class Scope:
    """The names that a module, class, function or comprehension binds."""

    is_class: bool = False
    names: dict[str, list[Binding]] = field(default_factory=dict)

    def bind(self, name: str, binding: Binding) -> None:
        self.names.setdefault(name, []).append(binding)


def scan_paths(paths: Sequence[Path], root: Path = ROOT) -> list[Finding]:
    """Return the findings in these files and folders, by path and line.  Rules depend on the path below `root`."""
    findings: list[Finding] = []
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            resolved = file.resolve()
            place = resolved.relative_to(root) if resolved.is_relative_to(root) else file
            findings += scan_source(file.read_text(encoding="utf-8"), PurePosixPath(place.as_posix()))
    return findings


def scan_source(text: str, path: PurePosixPath) -> list[Finding]:
    """Return the findings in the text of one file."""
    if str(path) in EXEMPT:
        return []
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [Finding(str(path), error.lineno or 1, "syntax", f"{error.msg}", "make it Python 3.11")]
    scan = _Scan(path, _order_reasons(text), _set_attributes(tree))
    scan.visit(tree)
    return sorted(scan.findings, key=lambda finding: (finding.line, finding.rule, finding.found))


def _order_reasons(text: str) -> frozenset[int]:
    """The lines that carry `# order: <reason>`."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return frozenset(
        token.start[0]
        for token in tokens
        if token.type == tokenize.COMMENT and re.search(r"#\s*order:\s*\S+", token.string)
    )


def _set_attributes(tree: ast.Module) -> frozenset[str]:
    """Attributes that this file declares as sets, such as `self.seen: set[bytes]`, and never as anything else."""
    sets: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        declared: list[ast.AnnAssign] = []
        if isinstance(node, ast.ClassDef):
            declared = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            declared = [node]
        for part in declared:
            name = part.target.attr if isinstance(part.target, ast.Attribute) else ast.unparse(part.target)
            kind = part.annotation.value if isinstance(part.annotation, ast.Subscript) else part.annotation
            is_set = ast.unparse(kind).rpartition(".")[2] in {"set", "frozenset", "Set", "FrozenSet", "AbstractSet"}
            (sets if is_set else others).add(name)
    return frozenset(sets - others)


def _bindings(body: Iterable[ast.AST], scope: Scope) -> Scope:
    """Add what these statements bind, without looking into functions, classes and comprehensions."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope.bind(node.name, Binding())
            continue
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                scope.bind(name, Binding(imported=alias.name if alias.asname else name))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                scope.bind(alias.asname or alias.name, Binding(imported=f"{node.module}.{alias.name}"))
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            scope.bind(node.targets[0].id, Binding(value=node.value))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            scope.bind(node.target.id, Binding(value=node.value, annotation=node.annotation))
        elif isinstance(node, ast.NamedExpr):
            scope.bind(node.target.id, Binding(value=node.value))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            scope.bind(node.id, Binding())
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            scope.bind(node.name, Binding())
        _bindings(ast.iter_child_nodes(node), scope)
    return scope


class _Scan(ast.NodeVisitor):
    """One walk over a file, with the scopes that are open at each place."""

    def __init__(self, path: PurePosixPath, order_reasons: frozenset[int], set_attributes: frozenset[str]) -> None:
        self.path = str(path)
        self.findings: list[Finding] = []
        self._order_reasons = order_reasons
        self._set_attributes = set_attributes
        self._scopes: list[Scope] = []
        self._order_is_free: list[ast.AST] = []
        self._resolving: list[str] = []
        parent = next((folder for folder in OURS if path.is_relative_to(folder)), None)
        self._ours = OURS[parent] if parent else ()

    def _report(self, node: ast.AST, rule: str, found: str, remedy: str) -> None:
        self.findings.append(Finding(self.path, getattr(node, "lineno", 1), rule, found, remedy))

    # What a name means.

    def _lookup(self, name: str) -> list[Binding] | None:
        for depth, scope in enumerate(reversed(self._scopes)):
            if name in scope.names and (depth == 0 or not scope.is_class):
                return scope.names[name]
        return None

    def _origins(self, node: ast.expr) -> list[str]:
        """The dotted names that an expression may stand for; none when it cannot be told."""
        if isinstance(node, ast.Attribute):
            return [f"{origin}.{node.attr}" for origin in self._origins(node.value)]
        if not isinstance(node, ast.Name):
            return []
        bindings = self._lookup(node.id)
        if bindings is None:
            return [f"builtins.{node.id}"] if hasattr(builtins, node.id) or node.id == "__builtins__" else []
        if node.id in self._resolving:
            return []
        self._resolving.append(node.id)
        origins: list[str] = []
        for binding in bindings:
            if binding.imported is not None:
                origins.append(binding.imported)
            elif isinstance(binding.value, ast.Name | ast.Attribute):
                origins += self._origins(binding.value)
        self._resolving.pop()
        return origins

    def _is_imported(self, node: ast.expr) -> bool:
        return any(not origin.startswith("builtins.") for origin in self._origins(node))

    def _is_set_type(self, annotation: ast.expr) -> bool:
        kind = annotation.value if isinstance(annotation, ast.Subscript) else annotation
        return any(origin in SET_TYPES for origin in self._origins(kind))

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Attribute(value=base, attr=method)) if method in SET_METHODS:
                return self._is_set(base)
            case ast.Call(func=function):
                return any(origin in SET_TYPES for origin in self._origins(function))
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.BitXor() | ast.Sub(), right=right):
                return any(self._is_set(side) or _is_view(side, ("keys", "items")) for side in (left, right))
            case ast.IfExp(body=one, orelse=other):
                return self._is_set(one) or self._is_set(other)
            case ast.NamedExpr(value=value):
                return self._is_set(value)
            case ast.Attribute(attr=attribute):
                return attribute in self._set_attributes
            case ast.Name(id=name):
                return self._is_set_name(name)
            case _:
                return False

    def _is_set_name(self, name: str) -> bool:
        if name in self._resolving:
            return False
        self._resolving.append(name)
        found = any(
            (binding.annotation is not None and self._is_set_type(binding.annotation))
            or (binding.value is not None and self._is_set(binding.value))
            for binding in self._lookup(name) or []
        )
        self._resolving.pop()
        return found

    # Scopes.

    def visit_Module(self, node: ast.Module) -> None:
        self._within(_bindings(node.body, Scope()), node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        self._within(_bindings(node.body, Scope(is_class=True)), node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._report(node, "await", f"async def {node.name}", "compute here, and let the node wait")
        self._visit_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_function(node)

    def _visit_function(self, node: Function) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra is not None]
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self._check_default(default)
                self.visit(default)
        scope = Scope()
        for argument in arguments:
            if argument.annotation is not None:
                self.visit(argument.annotation)
            scope.bind(argument.arg, Binding(annotation=argument.annotation))
        if isinstance(node, ast.Lambda):
            self._within(scope, [node.body])
            return
        for outside in (*node.decorator_list, node.returns):
            if outside is not None:
                self.visit(outside)
        self._within(_bindings(node.body, scope), node.body)

    def _within(self, scope: Scope, body: Iterable[ast.AST]) -> None:
        self._scopes.append(scope)
        for part in body:
            self.visit(part)
        self._scopes.pop()

    def _check_default(self, default: ast.expr) -> None:
        literal = isinstance(default, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
        made = isinstance(default, ast.Call) and any(name in MUTABLE_MAKERS for name in self._origins(default.func))
        if literal or made:
            remedy = "use a tuple or None: the default is shared by all calls"
            self._report(default, "mutable-default", f"the default {ast.unparse(default)}", remedy)

    # Imports.

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check_import(node, alias.name, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            self._report(node, "import", "a relative import", "write the whole name")
            return
        module = node.module or ""
        for alias in node.names:
            if alias.name == "*":
                self._report(node, "wildcard-import", f"from {module} import *", "name what you use")
            self._check_import(node, module, f"{module}.{alias.name}")

    def _check_import(self, node: ast.AST, module: str, full: str) -> None:
        top = module.partition(".")[0]
        if any(_is_inside(name, STORE) for name in (module, full)):
            if self.path not in STORE_USERS:
                remedy = "take what you need as a View, a ledger.reading.Snapshot or an argument"
                self._report(node, "import", f"import of {full}", remedy)
        elif top in OWNERS:
            if self.path not in OWNERS[top]:
                self._report(node, "import", f"import of {module}", f"go through {' or '.join(OWNERS[top])}")
        elif module not in STANDARD and not any(
            _is_inside(name, ours) for name in (module, full) for ours in self._ours
        ):
            allowed = ", ".join(self._ours) or "nothing of ours"
            remedy = f"only {allowed} and the modules in STANDARD of tools/zero_sim.py may be imported here"
            self._report(node, "import", f"import of {module}", remedy)

    # Names, numbers, statements.

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._check_banned(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._check_banned(node)
        self.generic_visit(node)

    def _check_banned(self, node: ast.Name | ast.Attribute) -> None:
        for origin in self._origins(node):
            if origin in BANNED:
                rule, remedy = BANNED[origin]
                name, text = origin.removeprefix("builtins."), ast.unparse(node)
                self._report(node, rule, f"use of {name}" + ("" if text == name else f" as {text}"), remedy)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, float | complex):
            self._report(node, "float", f"the literal {node.value}", "use integers: atoms of 10**-18")

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        spec = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
        last = spec[-1].value if spec and isinstance(spec[-1], ast.Constant) else ""
        if isinstance(last, str) and re.search(r"[eEfFgG%]$", last):
            self._report(node, "float", f"the format {last}", "use fixed_point.format_decimal")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Div):
            self._report(node, "true-division", ast.unparse(node), "use // or fixed_point.mul_div_floor")
        elif isinstance(node.op, ast.Pow) and _is_negative(node.right):
            self._report(node, "float", ast.unparse(node), "a negative power is a float: divide with //")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Div):
            self._report(node, "true-division", ast.unparse(node), "use //= or fixed_point.mul_div_floor")
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self._report(node, "global", f"global {', '.join(node.names)}", "keep state in an object, or in the ledger")

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is None:
            self._report(node, "bare-except", "except:", "name the error that is expected")
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        self._report(node, "await", ast.unparse(node), "compute here, and let the node wait")
        self.generic_visit(node)

    # Order.

    def visit_For(self, node: ast.For) -> None:
        self._check_order(node.iter, "the loop over", node.lineno)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._visit_comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._order_is_free.append(node)  # a set again
        self._visit_comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._visit_comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._visit_comprehension(node)

    def _visit_comprehension(self, node: Comprehension) -> None:
        for generator in node.generators:
            if node not in self._order_is_free:
                self._check_order(generator.iter, "the comprehension over", generator.iter.lineno)
        scope = Scope()
        for generator in node.generators:
            _bindings([generator.target], scope)
        self._within(scope, ast.iter_child_nodes(node))

    def visit_Starred(self, node: ast.Starred) -> None:
        if isinstance(node.ctx, ast.Load):
            self._check_order(node.value, "the unpacking of", node.lineno)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        origins = self._origins(node.func)
        keywords = {keyword.arg for keyword in node.keywords}
        if node.args and any(origin in ORDER_FREE for origin in origins):
            from_set = any(self._is_set(source) for source in _sources(node.args[0]))
            if "key" in keywords and from_set and not self._has_order_reason(node, node.lineno):
                remedy = "end the key with the item itself, so that no two are equal, or say `# order: <reason>`"
                self._report(node, "order", f"a set in {ast.unparse(node.func)} with a key", remedy)
            self._free(node.args[0])
        joins = isinstance(node.func, ast.Attribute) and node.func.attr in ("join", "extend")
        if (joins or any(origin in ORDER_ESCAPES for origin in origins)) and node not in self._order_is_free:
            for argument in node.args:
                self._check_order(argument, f"{ast.unparse(node.func)} of", node.lineno)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "pop" and self._is_set(node.func.value):
            self._report(node, "order", f"{ast.unparse(node)} of a set", "take min() or max() of it")
        by_name = {"builtins.getattr", "builtins.setattr", "builtins.delattr"} & set(origins)
        if by_name and node.args and self._is_imported(node.args[0]):
            self._report(node, "dynamic-code", ast.unparse(node), "name the attribute")
        if "builtins.pow" in origins and len(node.args) == 2 and _is_negative(node.args[1]):
            self._report(node, "float", ast.unparse(node), "a negative power is a float: divide with //")
        self.generic_visit(node)

    def _free(self, argument: ast.expr) -> None:
        """The order of this argument cannot show in the result."""
        self._order_is_free.append(argument)
        if isinstance(argument, ast.Call) and any(name in ORDER_ESCAPES for name in self._origins(argument.func)):
            for inner in argument.args:
                self._free(inner)

    def _check_order(self, source: ast.expr, what: str, line: int) -> None:
        if source in self._order_is_free or self._has_order_reason(source, line):
            return
        if self._is_set(source):
            self._report(source, "order", f"{what} the set {ast.unparse(source)}", ORDER_REMEDY)
        elif _is_view(source, ("items", "keys", "values")):
            self._report(source, "order", f"{what} {ast.unparse(source)}", ORDER_REMEDY)

    def _has_order_reason(self, node: ast.expr, line: int) -> bool:
        return any(number in self._order_reasons for number in range(line, (node.end_lineno or line) + 1))


def _sources(node: ast.expr) -> Iterator[ast.expr]:
    """What is iterated to make this argument: itself, or what its comprehension goes over."""
    yield node
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        for generator in node.generators:
            yield generator.iter


def _is_view(node: ast.expr, methods: tuple[str, ...]) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in methods
        and not node.args
        and not node.keywords
    )


def _is_negative(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def _is_inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def main(arguments: Sequence[str] | None = None) -> int:
    """Scan, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Find what could make two nodes compute different things.")
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders; the four pure packages by default")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of lines")
    options = parser.parse_args(arguments)
    paths: list[Path] = options.paths or [ROOT / folder for folder in FOLDERS]
    missing = [path for path in paths if not path.exists()]
    if missing:
        parser.error(f"no such file or folder: {', '.join(str(path) for path in missing)}")
    findings = scan_paths(paths)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
        print(f"{len(findings)} findings" if findings else "no findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
