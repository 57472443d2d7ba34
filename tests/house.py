"""Fails when a file or function is too long, or an option is named outside the CLI: ``python -m tests.house``."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.circles import without_comments
from tests.harness.places import ROOT

LONGEST_FILE = 500
LONGEST_FUNCTION = 70
FOLDERS = ("orchestrator", "protocol", "python-sdk", "tests", "examples")
#: Folders with third-party sources or build output.
_SKIPPED = {"target", ".venv", "__pycache__"}
#: The command-line library and the names of its options, which only the folder `cli` may use.
_OPTION = re.compile(r"\bclap\b|(?<![-\w])--[a-z][a-z-]+")
_SOURCES = ("orchestrator/src", "protocol/src")
#: These start the SDK's worker, which has a command line of its own.
_OPTIONS_OF_WORKERS = {"--node", "--socket", "--application", "--fd", "--marker-fd", "--progress-ms", "--code"}
_RUST_FUNCTION = re.compile(r"\bfn\s+(\w+)")


class TooLong(NamedTuple):
    """A file, or a function in it, with more lines than allowed."""

    file: Path
    line: int
    what: str
    lines: int
    most: int


def faults(root: Path) -> Iterator[TooLong]:
    """The files and functions below ``root`` that are too long."""
    for file in sorted([*root.rglob("*.rs"), *root.rglob("*.py")]):
        if not _SKIPPED.isdisjoint(file.relative_to(root).parts):
            continue
        text = file.read_text()
        lines = len(text.splitlines())
        if lines > LONGEST_FILE:
            yield TooLong(file, 1, "file", lines, LONGEST_FILE)
        functions = _python_functions(text) if file.suffix == ".py" else _rust_functions(text)
        for name, first, last in functions:
            if last - first + 1 > LONGEST_FUNCTION:
                yield TooLong(file, first, name, last - first + 1, LONGEST_FUNCTION)


def _python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno or node.lineno


def _rust_functions(text: str) -> Iterator[tuple[str, int, int]]:
    code = without_comments(text)
    for match in _RUST_FUNCTION.finditer(code):
        position, depth = match.end(), 0
        while position < len(code):
            character = code[position]
            depth += (character in "([{") - (character in ")]}")
            position += 1
            # A signature without a body ends with a semicolon. The semicolon of an array type is inside brackets.
            if depth == 0 and character in ";}":
                break
        yield match[1], code.count("\n", 0, match.start()) + 1, code.count("\n", 0, position) + 1


def options_named(sources: Path) -> Iterator[tuple[Path, int, str]]:
    """Where code, texts or comments outside the folder ``cli`` of ``sources`` name options or their library."""
    for file in sorted(sources.rglob("*.rs")):
        if file.relative_to(sources).parts[0] != "cli":
            for number, line in enumerate(file.read_text().splitlines(), 1):
                names = set(_OPTION.findall(line)) - _OPTIONS_OF_WORKERS
                yield from ((file, number, name) for name in sorted(names))


def main() -> int:
    """Prints the faults; returns 1 if there are any."""
    found = [fault for folder in FOLDERS for fault in faults(ROOT / folder)]
    for file, line, what, lines, most in found:
        print(f"{file.relative_to(ROOT)}:{line}: {what} has {lines} lines, more than {most}")
    named = [option for sources in _SOURCES for option in options_named(ROOT / sources)]
    for file, line, name in named:
        print(f"{file.relative_to(ROOT)}:{line}: {name} belongs into {_SOURCES[0]}/cli")
    return 1 if found or named else 0


if __name__ == "__main__":
    sys.exit(main())
