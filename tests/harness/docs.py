"""The pages of ``python-sdk/docs`` and the code blocks in them.

A block whose first line is ``# NAME.py`` or ``# NAME.toml`` is a file of that name. Of the others, ``python`` blocks
are run, those with ``>>>`` as doctests, and in ``console`` blocks each line after ``$`` is a command, followed by what
it prints. All blocks of a page share a folder, in which they are written and run in order.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.harness.places import ROOT

DOCS = ROOT / "python-sdk" / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.-]+\.(?:py|toml))\n")


class Block(NamedTuple):
    """A code block: its language, its text, and the name of the file that it is."""

    language: str
    text: str
    file: "str | None"


def blocks_of(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    for language, text in _BLOCK.findall(page.read_text()):
        named = _FILE.match(text)
        yield Block(language, text, None if named is None else named[1])


def write_files(folder: Path) -> "list[Path]":
    """Write the Python files of all pages to ``folder``, each as the last block of its name has it."""
    pages: dict[str, Path] = {}
    for page in PAGES:
        for block in blocks_of(page):
            if block.file is not None and block.file.endswith(".py"):
                if pages.setdefault(block.file, page) != page:
                    raise ValueError(f"{block.file} is in {page} and in {pages[block.file]}")
                (folder / block.file).write_text(block.text)
    return sorted(folder / name for name in pages)


def commands_of(text: str) -> "list[tuple[str, str]]":
    """The commands of a ``console`` block, each with what it prints."""
    commands: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], ""))
        else:
            command, printed = commands.pop()
            commands.append((command, f"{printed}{line}\n"))
    return commands


def pattern_of(printed: str) -> str:
    """A regular expression for what is shown as printed: ``...`` stands for anything."""
    return re.escape(printed.strip("\n")).replace(re.escape("..."), ".*?")
