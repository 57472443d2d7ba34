"""Fixtures: applications written to a folder of their own, and workers that run them."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import settings

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
