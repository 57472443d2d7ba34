"""Fails on import cycles, and on modules that use a higher layer: ``python -m tests.circles``.

The graph's nodes are the top-level modules of each crate and of the Python package; a folder counts as one node. Every
path counts, whether it is at the top of a file, inside a function or only for type checkers. Rust tests and doc
comments do not count.
"""

import ast
import re
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.harness.places import ROOT

#: The layers of modules, from the lowest up. A module uses only modules of lower layers.
#: A module that is not listed may use any module, as long as that makes no cycle.
LAYERS = {
    "orchestrator/src": (
        ("causes", "ids", "limit", "position", "stream_protocol", "local_socket"),
        ("frame", "keepalive", "descriptors", "standard_output", "sink_chunk", "log"),
        ("death",),
        ("dead_message", "plan", "interpreter", "source", "sink", "worker"),
        ("engine", "dead_letter", "connector"),
        ("control",),
        ("runtime",),
        ("cli",),
    ),
    "protocol/src": (),
}
PYTHON = "python-sdk/src/wallaroo"

_CRATE_FILES = ("lib", "main")
_NO_CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | (?<!\w)b?r(\#*)".*?"\1 | "(?:\\.|[^"\\])*" | '(?:\\[^']*|[^'\\])'""",
    re.DOTALL | re.VERBOSE,
)
_TEST_ITEM = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*")
_MODULE = re.compile(r"(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*(\{|;)")
_PATH_START = re.compile(r"\b(crate|super|self)\s*::\s*")
_WORD = re.compile(r"\w+")
_SEPARATOR = re.compile(r"\s*::\s*")


class Use(NamedTuple):
    """A place in the sources where the module ``source`` names the module ``target``."""

    source: str
    target: str
    file: Path
    line: int
    note: str = ""


def circles(uses: Iterable[Use]) -> list[list[Use]]:
    """The cycles among ``uses``, each with the uses that form it: the shortest cycle through every dependency."""
    places: dict[tuple[str, str], list[Use]] = defaultdict(list)
    targets: dict[str, set[str]] = defaultdict(set)
    for use in uses:
        if use.source != use.target:
            places[use.source, use.target].append(use)
            targets[use.source].add(use.target)
    found: dict[tuple[str, ...], list[Use]] = {}
    for source, target in sorted(places):
        way = _shortest(targets, target, source)
        if way is None:
            continue
        circle = [source, *way[:-1]]
        first = circle.index(min(circle))
        names = tuple(circle[first:] + circle[:first])
        pairs = zip(names, (*names[1:], names[0]))
        found[names] = [use for pair in pairs for use in places[pair]]
    return sorted(found.values(), key=lambda circle: [use.source for use in circle])


def upward(uses: Iterable[Use], layers: tuple[tuple[str, ...], ...]) -> list[Use]:
    """The uses of a module by a module of the same or a lower layer."""
    heights = {module: height for height, layer in enumerate(layers) for module in layer}
    known = (use for use in uses if use.source != use.target and {use.source, use.target} <= heights.keys())
    return [use for use in known if heights[use.source] <= heights[use.target]]


def _shortest(targets: dict[str, set[str]], start: str, end: str) -> "list[str] | None":
    before = {start: ""}
    waiting = deque([start])
    while waiting:
        module = waiting.popleft()
        if module == end:
            way = [end]
            while before[way[-1]]:
                way.append(before[way[-1]])
            return way[::-1]
        for target in sorted(targets[module] - before.keys()):
            before[target] = module
            waiting.append(target)
    return None


def rust_uses(sources: Path) -> list[Use]:
    """The uses among the modules of a crate. ``sources`` holds its lib.rs or main.rs."""
    files = {file: without_comments(file.read_text()) for file in sorted(sources.rglob("*.rs"))}
    tests = {module for file, text in files.items() for module in _test_modules(file, text, sources)}
    code = {
        file: _without_tests(text)
        for file, text in files.items()
        if not any(_module(file, sources)[: len(test)] == test for test in tests)
    }
    modules = {module[0] for module in (_module(file, sources) for file in code) if module}
    uses = []
    for file, text in code.items():
        here = _module(file, sources)
        for position, path in _paths(text, here):
            # lib.rs and main.rs are above all modules: no module can use them.
            if here and path and path[0] in modules:
                uses.append(Use(here[0], path[0], file, text.count("\n", 0, position) + 1))
    return uses


def without_comments(text: str) -> str:
    """``text`` with comments, strings and characters blanked out; lines keep their numbers."""
    return _NO_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def _module(file: Path, sources: Path) -> tuple[str, ...]:
    parts = file.relative_to(sources).with_suffix("").parts
    if parts[-1] == "mod" or (len(parts) == 1 and parts[0] in _CRATE_FILES):
        parts = parts[:-1]
    return parts


def _test_modules(file: Path, text: str, sources: Path) -> Iterator[tuple[str, ...]]:
    for match in _TEST_ITEM.finditer(text):
        module = _MODULE.match(text, match.end())
        if module and module[2] == ";":
            yield (*_module(file, sources), module[1])


def _without_tests(text: str) -> str:
    pieces, end = [], 0
    for match in _TEST_ITEM.finditer(text):
        if match.start() < end:
            continue
        pieces.append(text[end : match.start()])
        end = _end_of_item(text, match.end())
        pieces.append("\n" * text.count("\n", match.start(), end))
    return "".join([*pieces, text[end:]])


def _end_of_item(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        character = text[position]
        position += 1
        depth += (character in "([{") - (character in ")]}")
        if depth < 0 or (depth == 0 and character in ";}"):
            break
    return position


def _paths(text: str, here: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Every path of ``text`` with an explicit start, resolved from the crate's root, and its position."""
    inline = [(match[1], match.end(), _end_of_item(text, match.start())) for match in _MODULE.finditer(text)]
    for match in _PATH_START.finditer(text):
        if text[: match.start()].rstrip().endswith("::"):
            continue
        module = (*here, *(name for name, start, end in inline if start <= match.start() < end))
        start = {"crate": (), "self": module, "super": module[:-1]}[match[1]]
        yield from _tree(text, match.end(), start)[0]


def _tree(text: str, position: int, prefix: tuple[str, ...]) -> tuple[list[tuple[int, tuple[str, ...]]], int]:
    """The paths that begin with ``prefix`` and continue at ``position``, and where they end."""
    while (word := _WORD.match(text, position)) is not None:
        if word[0] == "super":
            prefix = prefix[:-1]
        elif word[0] != "self":
            prefix = (*prefix, word[0])
        separator = _SEPARATOR.match(text, word.end())
        if separator is None:
            return [(word.start(), prefix)], word.end()
        position = separator.end()
    if text[position : position + 1] != "{":
        return [(position, prefix)], position
    paths = []
    position = _skip(text, position + 1)
    while position < len(text) and text[position] != "}":
        branch, position = _tree(text, position, prefix)
        paths += branch
        position = _next_branch(text, position)
    return paths, position + 1


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _next_branch(text: str, position: int) -> int:
    """The position after ``*`` or ``as name`` and the comma: the next branch of a group, or its end."""
    while position < len(text) and text[position] not in ",}":
        position += 1
    return _skip(text, position + 1) if text[position : position + 1] == "," else position


def python_uses(package: Path) -> list[Use]:
    """The imports among the modules and packages directly below ``package``."""
    uses = []
    for file in sorted(package.rglob("*.py")):
        tree = ast.parse(file.read_text(), str(file))
        notes = dict(_notes(tree))
        for node in ast.walk(tree):
            for module in _imported(node, package, file):
                uses.append(Use(_node(file, package), _top(module, package), file, node.lineno, notes.get(node, "")))
    return uses


def _notes(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from ((inner, "for type checkers") for body in node.body for inner in ast.walk(body))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from ((inner, "in a function") for inner in ast.walk(node))


def _imported(node: ast.AST, package: Path, file: Path) -> Iterator[tuple[str, ...]]:
    """The modules of the package that ``node`` imports, as name parts below the package."""
    if isinstance(node, ast.Import):
        names = [tuple(alias.name.split(".")) for alias in node.names]
        yield from (name[1:] for name in names if name[0] == package.name)
    elif isinstance(node, ast.ImportFrom):
        module = tuple((node.module or "").split(".")) if node.module else ()
        if node.level:
            here = (package.name, *file.relative_to(package).with_suffix("").parts)
            module = (*here[: -node.level], *module)
        if module[:1] == (package.name,):
            yield from ((*module[1:], alias.name) for alias in node.names)


def _top(module: tuple[str, ...], package: Path) -> str:
    """The node of a module: its first part, or the package itself if that is only a name in the package."""
    first = module[0] if module else ""
    there = first and ((package / first).is_dir() or (package / f"{first}.py").is_file())
    return first if there else package.name


def _node(file: Path, package: Path) -> str:
    first = file.relative_to(package).with_suffix("").parts[0]
    return package.name if first == "__init__" else first


def report(title: str, uses: list[Use], layers: tuple[tuple[str, ...], ...] = ()) -> int:
    """Prints the faults of one graph; returns their number."""
    uses = list(dict.fromkeys(uses))
    found, up = circles(uses), upward(uses, layers)
    modules = {use.source for use in uses} | {use.target for use in uses}
    print(f"{title}: {len(modules)} modules, {len(found)} circles, {len(up)} uses of a module that stands higher")
    for circle in found:
        names = list(dict.fromkeys(use.source for use in circle))
        print(f"  circle: {' -> '.join([*names, names[0]])}")
        _print(circle)
    if up:
        print(f"  upward: {', '.join(sorted({f'{use.source} -> {use.target}' for use in up}))}")
        _print(up)
    return len(found) + len(up)


def _print(uses: list[Use]) -> None:
    for use in uses:
        file = use.file.relative_to(ROOT) if use.file.is_relative_to(ROOT) else use.file
        note = f", {use.note}" if use.note else ""
        print(f"    {file}:{use.line}: {use.source} uses {use.target}{note}")


def main() -> int:
    """Checks all sources; returns 1 if there is a fault."""
    faults = [report(crate, rust_uses(ROOT / crate), layers) for crate, layers in LAYERS.items()]
    faults.append(report(PYTHON, python_uses(ROOT / PYTHON)))
    return 1 if sum(faults) else 0


if __name__ == "__main__":
    sys.exit(main())
