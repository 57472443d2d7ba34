"""The stages of an application, as the orchestrator's ``plan.rs`` makes them.

A stage begins at a source, or where messages get a key, and holds everything below it up to the next such node, or to a
sink.
"""

from __future__ import annotations

from typing import NamedTuple

from wallaroo._io.sources import GenSourceConfig
from wallaroo._pipeline.topology import KEYING, Application, Node, SinkNode, SourceNode


class PlannedStage(NamedTuple):
    """A stage of the plan, as a worker receives it."""

    kind: str
    root: int
    outlets: list[int]


def planned_stages(application: Application) -> list[PlannedStage]:
    """Return the stages of ``application``, those nearer a source first."""
    stages = []
    for root, node in enumerate(application.nodes):
        kind = _input_kind(node)
        if kind is not None:
            stages.append(PlannedStage(kind, root, _outlets(application, root)))
    return stages


def _input_kind(node: Node) -> str | None:
    if isinstance(node, SourceNode):
        return "generate" if isinstance(node.source, GenSourceConfig) else "frames"
    return "groups" if isinstance(node, KEYING) else None


def _outlets(application: Application, root: int) -> list[int]:
    seen: set[int] = set()
    below = application.children(root)
    while below:
        node = below.pop()
        if node not in seen:
            seen.add(node)
            if not isinstance(application.nodes[node], (*KEYING, SinkNode)):
                below += application.children(node)
    return sorted(node for node in seen if isinstance(application.nodes[node], (*KEYING, SinkNode)))
