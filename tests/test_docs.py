"""Every code block of the documentation runs, and prints what is shown below it."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.docs import DOCS, PAGES, blocks_of, commands_of, pattern_of
from tests.harness.orchestrator import PATIENCE, orchestrator_command

LANGUAGES = {"python", "toml", "console"}


def run(command, folder):
    """What a command of a ``console`` block prints to standard output."""
    tools = [str(Path(orchestrator_command()).parent), str(Path(sys.executable).parent)]
    environment = {**os.environ, "PATH": os.pathsep.join([*tools, os.environ["PATH"]]), "XDG_RUNTIME_DIR": str(folder)}
    environment.pop("PYTEST_CURRENT_TEST", None)
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return ran.stdout, ran.stdout + ran.stderr


def in_any_order(text):
    return sorted(text.strip("\n").splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    names: dict = {"__name__": "__docs__"}
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"a block of {block.language!r} is not run"
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text)
        elif block.language == "console":
            for command, printed in commands_of(block.text):
                out, whole = run(command, tmp_path)
                matches = re.fullmatch(pattern_of(printed), out.strip("\n"), re.DOTALL)
                assert matches or in_any_order(out) == in_any_order(printed), f"$ {command}\n{whole}"
        elif ">>> " in block.text:
            test = doctest.DocTestParser().get_doctest(block.text, names, page.name, str(page), 0)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(test, clear_globs=False)
            assert runner.failures == 0
            names.update(test.globs)
        else:
            exec(compile(block.text, str(page), "exec"), names)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(DOCS)} links to {link}"
