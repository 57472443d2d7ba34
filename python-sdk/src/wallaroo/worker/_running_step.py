"""Which step is running: found on the stack when somebody asks, so that running a step costs nothing for it."""

from __future__ import annotations

import sys
from collections.abc import Set as AbstractSet
from types import CodeType, FrameType
from typing import Any

from wallaroo._pipeline.topology import Application
from wallaroo.worker._marker import Marker
from wallaroo.worker._user_code import codes_of


class Steps:
    """The steps of an application, by the code that they run.

    Args:
        application: Its nodes hold the user's code.
        marker: Says which node runs, where several run the same code.
    """

    def __init__(self, application: Application, marker: Marker) -> None:
        self._names = [node.name for node in application.nodes]
        self._marker = marker
        # Of a method: the object, too.
        self._nodes: dict[CodeType, list[tuple[int, Any]]] = {}
        for number, node in enumerate(application.nodes):
            for code, owner in codes_of(node):
                self._nodes.setdefault(code, []).append((number, owner))

    def running(self, frame: FrameType | None) -> str | None:
        """Return the name of the step in whose call ``frame`` is; ``None`` if it is in none, as in another thread."""
        found: AbstractSet[int] = frozenset()
        while frame is not None:
            nodes = self._nodes_of(frame)
            if nodes:
                # The outermost call decides; a wrapper that several steps share leaves it to what is inside.
                found = nodes & found or nodes
            frame = frame.f_back
        if len(found) > 1:
            found = found & {self._marker.node()}
        return self._names[next(iter(found))] if found else None

    def _nodes_of(self, frame: FrameType) -> set[int]:
        code = frame.f_code
        known = self._nodes.get(code, ())
        if len(known) < 2:
            return {node for node, _ in known}
        this = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        return {node for node, owner in known if owner is None or owner is this}


_steps: Steps | None = None


def know_steps(steps: Steps) -> None:
    """Let :func:`running_step` know the application's steps."""
    global _steps
    _steps = steps


def running_step() -> str | None:
    """Return the name of the step that the caller is in; ``None`` if it is in none."""
    return None if _steps is None else _steps.running(sys._getframe(1))
