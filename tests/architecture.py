"""The dependency rules and the purity rule of the source, read with `ast`.

`driftline.schemas` <- `driftline.streams` <- `driftline.agents`, always by their full names; in
`streams` there is no clock, file, socket, environment, unseeded randomness, built-in `hash()` or
iteration over a set. The tasks on Kafka import no application framework, and neither driver imports
the other. The files and folders of any one folder import each other without a circle.
`test_architecture.py` runs these checks and shows that each of them can fail.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

# Standard library that computes and touches nothing outside. A module that is missing here may be
# added if it reads no clock, file, socket, environment or entropy; `importlib` and `pkgutil` find
# plug-ins in the installed package.
PURE_STDLIB = frozenset(
    """
    __future__ abc array base64 binascii bisect cmath collections contextlib copy dataclasses
    datetime decimal difflib enum fnmatch fractions functools hashlib heapq importlib inspect
    itertools json keyword math numbers operator pkgutil re reprlib
    statistics string struct textwrap types typing unicodedata warnings weakref zlib
    """.split()
)
STREAMS_LIBRARIES = frozenset({"msgspec", "numpy", "xxhash"})
# Optional, and imported only where a rule asks for it.
LIBRARIES_OF_FILE = {"streams/decide/detectors/river_detectors.py": frozenset({"river"})}
SCHEMAS_LIBRARIES = frozenset({"msgspec"})
PACKAGES = ("schemas", "streams", "agents")
# The packages of Driftline that a package may import, besides itself.
BELOW = {"schemas": (), "streams": ("schemas",), "agents": ("schemas", "streams")}
# A driver without the framework stays possible, and the two drivers share what lies below both.
FRAMEWORK = frozenset({"faust", "mode", "aiokafka"})
FORBIDDEN_BELOW = {
    "agents/kafka/": (*FRAMEWORK, "driftline.agents.inprocess", "driftline.agents.worker"),
    "agents/state/": (*FRAMEWORK, "driftline.agents.inprocess", "driftline.agents.kafka"),
    "agents/recorded/": (*FRAMEWORK, "driftline.agents.inprocess", "driftline.agents.kafka"),
    "agents/inprocess/": (*FRAMEWORK, "driftline.agents.kafka", "driftline.agents.worker"),
}

CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
NUMPY_FILES = frozenset(
    {
        "load",
        "save",
        "savez",
        "savez_compressed",
        "loadtxt",
        "savetxt",
        "genfromtxt",
        "fromfile",
        "tofile",
        "memmap",
    }
)
SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference"})
SET_TYPES = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})
# What makes an order out of whatever it is given; `sorted`, `len`, `min`, `max`, `any` and `all` do
# not depend on one.
ORDER_KEEPERS = frozenset(
    {
        "list",
        "tuple",
        "enumerate",
        "iter",
        "next",
        "zip",
        "map",
        "filter",
        "reversed",
        "sum",
        "dict",
    }
)


class Violation(NamedTuple):
    """One broken rule: where it is, which one, and what to do."""

    file: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


def check_source(source: str, *, package: str, file: str) -> list[Violation]:
    """All violations in one file of `package` ("schemas", "streams" or "agents"), in order of
    lines.
    """
    tree = ast.parse(source, filename=file)
    found = list(_imports(tree, package, file))
    if package in ("schemas", "streams"):
        found += _builtin_calls(
            tree, file, {"hash": "differs from run to run; use driftline.streams.hashing"}
        )
        found += _set_iteration(tree, file)
    if package == "streams":
        found += _builtin_calls(
            tree,
            file,
            dict.fromkeys(("open", "input", "print"), "files and terminals belong to agents"),
        )
        found += _clocks_and_chance(tree, file)
    return sorted(found, key=lambda violation: (violation.line, violation.rule))


def check_tree(root: Path) -> list[Violation]:
    """All violations in the three packages below `root`."""
    found: list[Violation] = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            found += check_source(
                path.read_text(encoding="utf-8"),
                package=package,
                file=path.relative_to(root).as_posix(),
            )
    return found


def _imports(tree: ast.AST, package: str, file: str) -> Iterator[Violation]:
    for line, name in _imported(tree):
        reason = _refused(name, package, file)
        if reason:
            yield Violation(file, line, "import", f"{package} may not import {name}: {reason}")


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of each import; `from a import b` is `a`, and `a.b` where a is a package
    of Driftline, since b may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            base = node.module or ""
            if base == "driftline":
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, base


def _refused(name: str, package: str, file: str) -> str | None:
    top, _, rest = name.partition(".")
    for folder, forbidden in FORBIDDEN_BELOW.items():
        if file.startswith(folder) and any(_is_below(name, other) for other in forbidden):
            return f"nothing in {folder} depends on it; what needs both lives above"
    if top in PACKAGES:
        return f"write driftline.{top}; the bare name may be another distribution's"
    if top == "driftline":
        sub = rest.partition(".")[0]
        if sub in (package, *BELOW[package]) or (package == "agents" and not sub):
            return None
        return "the packages depend on each other as schemas <- streams <- agents"
    stdlib = top in sys.stdlib_module_names
    if package == "schemas" and not (stdlib or top in SCHEMAS_LIBRARIES):
        return "only the standard library and msgspec"
    if package == "streams":
        if top in STREAMS_LIBRARIES | LIBRARIES_OF_FILE.get(file, frozenset()) | PURE_STDLIB:
            return None
        if stdlib:
            return (
                "it is not on the list of pure modules; "
                "time, files and randomness are passed in by the driver"
            )
        return "only driftline.schemas, msgspec, numpy and xxhash"
    if package == "agents" and top in ("tests", "deploy"):
        return "the product does not depend on its tests"
    return None


def _is_below(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def import_circles(sources: Mapping[str, str]) -> list[str]:
    """The circles of imports inside each folder.

    Parameters
    ----------
    sources
        Text of each module by its full name; a package ends with `.__init__`.

    Returns
    -------
    One line for each circle: the folder, its files and folders that import each other, and one
    import for each arrow. Imports for type checking only count as well.
    """
    imports = {name: _modules_imported(name, text, sources) for name, text in sources.items()}
    lines = []
    for folder in sorted({name.rpartition(".")[0] for name in sources}):
        arrows: dict[str, dict[str, str]] = {}
        for name, others in imports.items():
            for other in others:
                if _is_below(name, folder) and _is_below(other, folder):
                    start, end = (each[len(folder) + 1 :].split(".")[0] for each in (name, other))
                    if start != end:
                        arrows.setdefault(start, {}).setdefault(end, f"{name} -> {other}")
        for circle in _circles(arrows):
            proof = [arrows[a][b] for a in circle for b in circle if b in arrows.get(a, {})]
            lines.append(f"{folder}: {', '.join(circle)} import each other: {'; '.join(proof)}")
    return lines


def modules(root: Path) -> dict[str, str]:
    """Text of every module of the three packages below `root`, by its full name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(("driftline", *parts))] = path.read_text(encoding="utf-8")
    return found


def _modules_imported(name: str, source: str, sources: Mapping[str, str]) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(source, filename=name)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            base = node.module or ""
            # `from package import module` is an import of the module, not of the package.
            names += [
                full if _module(full := f"{base}.{alias.name}", sources) else base
                for alias in node.names
            ]
    found = {_module(each, sources) for each in names} - {None, name}
    return sorted(each for each in found if each)


def _module(name: str, sources: Mapping[str, str]) -> str | None:
    return next((each for each in (name, f"{name}.__init__") if each in sources), None)


def _circles(arrows: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """Groups of nodes of which each can reach each other."""
    reach = {node: _reachable(node, arrows) for node in arrows}
    groups = {
        tuple(sorted(other for other in seen if node in reach.get(other, ())))
        for node, seen in reach.items()
        if node in seen
    }
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, arrows: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    seen: dict[str, None] = {}
    waiting = [start]
    while waiting:
        for following in arrows.get(waiting.pop(), {}):
            if following not in seen:
                seen[following] = None
                waiting.append(following)
    return frozenset(seen)


def _builtin_calls(tree: ast.AST, file: str, refused: dict[str, str]) -> Iterator[Violation]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in refused
        ):
            yield Violation(
                file, node.lineno, "call", f"built-in {node.func.id}(): {refused[node.func.id]}"
            )


def _clocks_and_chance(tree: ast.AST, file: str) -> Iterator[Violation]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "numpy"
            and any(alias.name == "random" for alias in node.names)
        ):
            yield Violation(
                file,
                node.lineno,
                "chance",
                "numpy.random: write np.random.default_rng(seed) where the seed is data",
            )
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called, owner = node.func.attr, node.func.value
        if called in CLOCK_CALLS:
            yield Violation(
                file,
                node.lineno,
                "clock",
                f".{called}() reads a clock; time comes from records and ticks",
            )
        if (_is_numpy(owner) and called in NUMPY_FILES) or called == "tofile":
            yield Violation(
                file,
                node.lineno,
                "file",
                f"numpy's {called}() touches a file; files belong to agents",
            )
        if (
            _is_numpy(owner)
            and called == "datetime64"
            and node.args
            and _text(node.args[0]) in ("now", "today")
        ):
            yield Violation(
                file,
                node.lineno,
                "clock",
                "np.datetime64 of the clock; time comes from records and ticks",
            )
        if isinstance(owner, ast.Attribute) and owner.attr == "random" and _is_numpy(owner.value):
            seeded = called in (
                "default_rng",
                "PCG64",
                "Philox",
                "SeedSequence",
                "Generator",
            ) and bool(node.args)
            if not seeded:
                yield Violation(file, node.lineno, "chance", f"np.random.{called} without a seed")


def _is_numpy(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy")


def _text(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


# Iteration over sets: literals, comprehensions, set(...), set algebra, and local names that hold
# only such values.


def _set_iteration(tree: ast.AST, file: str) -> Iterator[Violation]:
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    of_module = _set_names(tree)
    for scope in [tree, *functions]:
        names = _set_names(scope, of_module)
        for node in _own_nodes(scope):
            for iterated in _iterated(node):
                if _is_set(iterated, names):
                    yield Violation(
                        file,
                        iterated.lineno,
                        "set",
                        "iteration over a set has no fixed order; write sorted(...)",
                    )


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope without those of the functions inside it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own_nodes(child)


def _iterated(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        return [node.iter]
    if isinstance(node, ast.Starred):
        return [node.value]
    if isinstance(node, ast.YieldFrom):
        return [node.value]
    if isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Tuple | ast.List) for target in node.targets
    ):
        return [node.value]
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ORDER_KEEPERS:
            return list(node.args)
        if isinstance(node.func, ast.Attribute) and node.func.attr in (
            "join",
            "extend",
            "fromiter",
            "fromkeys",
        ):
            return list(node.args)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "pop" and not node.args:
            return [node.func.value]
    return []


def _is_set(node: ast.expr, names: frozenset[str]) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.BinOp) and isinstance(
        node.op, ast.BitOr | ast.BitAnd | ast.BitXor | ast.Sub
    ):
        return _is_set(node.left, names) or _is_set(node.right, names)
    if isinstance(node, ast.IfExp):
        return _is_set(node.body, names) or _is_set(node.orelse, names)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return node.func.id in ("set", "frozenset")
        if isinstance(node.func, ast.Attribute):
            return node.func.attr in SET_METHODS and _is_set(node.func.value, names)
    return False


def _set_names(scope: ast.AST, outer: frozenset[str] = frozenset()) -> frozenset[str]:
    """The names that hold only sets in a scope: every value assigned to them there is one."""
    values: dict[str, list[tuple[ast.expr | None, ast.expr | None]]] = {}
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        arguments = scope.args
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            values.setdefault(argument.arg, []).append((None, argument.annotation))
    for node in _own_nodes(scope):
        for name, value, annotation in _assigned(node):
            values.setdefault(name, []).append((value, annotation))
    known = outer - values.keys()
    while True:  # once more after each gain, so that `b = a | c` is known once `a` is
        gained = {
            name
            for name, assigned in values.items()
            if all(
                _annotates_set(annotation) or (value is not None and _is_set(value, known))
                for value, annotation in assigned
            )
        }
        if gained <= known:
            return known
        known |= gained


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value, None
            elif (
                isinstance(target, ast.Tuple)
                and isinstance(node.value, ast.Tuple)
                and len(target.elts) == len(node.value.elts)
            ):
                for element, value in zip(target.elts, node.value.elts, strict=True):
                    if isinstance(element, ast.Name):
                        yield element.id, value, None
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, node.value, node.annotation
    elif isinstance(node, ast.NamedExpr):
        yield node.target.id, node.value, None


def _annotates_set(annotation: ast.expr | None) -> bool:
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    if isinstance(annotation, ast.Attribute):
        return annotation.attr in SET_TYPES
    return isinstance(annotation, ast.Name) and annotation.id in SET_TYPES
