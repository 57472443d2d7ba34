"""Fixtures that pytest finds by itself where this package is installed: ``wallaroo_orch`` and ``wallaroo_sink``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable

import pytest

if TYPE_CHECKING:
    # At run time imported by the fixtures alone: every run of pytest imports this module.
    from wallaroo.testing import Orchestrator, Sink


@pytest.fixture
def wallaroo_orch() -> Iterator[Callable[..., Orchestrator]]:
    """Start applications in worker processes: called with the arguments of :class:`wallaroo.testing.Orchestrator`."""
    from wallaroo.testing import Orchestrator

    with contextlib.ExitStack() as running:

        def start(*args: Any, **options: Any) -> Orchestrator:
            return running.enter_context(Orchestrator(*args, **options))

        yield start


@pytest.fixture
def wallaroo_sink() -> Iterator[Sink]:
    """A :class:`wallaroo.testing.Sink`: listens at ``address`` and keeps what comes."""
    from wallaroo.testing import Sink

    with Sink() as sink:
        yield sink
