"""Fixtures: applications written to a folder of their own, and workers that run them."""

from __future__ import annotations

import sys
import textwrap

import pytest
from hypothesis import settings

from connector_application import APPLICATION

# For type checkers alone.
collect_ignore = ["typing"]

# How long an example takes says nothing here: machines are shared, and PyPy compiles on the way.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def app(tmp_path):
    """Write the source of an application and return its path."""
    count = iter(range(1_000))

    def write(source, name=None):
        path = tmp_path / (name or f"app_{next(count)}.py")
        path.write_text(textwrap.dedent(source))
        return path

    return write


@pytest.fixture
def application(tmp_path, monkeypatch):
    """The name of a module in the current folder, which no other test has imported."""
    name = f"connected_{tmp_path.name}".replace("-", "_")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.py").write_text(APPLICATION)
    yield name
    sys.modules.pop(name, None)
