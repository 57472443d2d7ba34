"""Async steps are in stages without state: a stage with state is cut where such a step begins and where it ends.

Otherwise a replay, which is for the state, would make its calls again, and a state would wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Callable

from wallaroo._pipeline.topology import (
    KEYING,
    Application,
    AsyncNode,
    CutNode,
    Node,
    SinkNode,
    SourceNode,
    StateNode,
    WindowNode,
    pool_of,
)

Edge = tuple[int, int]
"""From a node to one that takes its outputs."""

_ENDS = (*KEYING, SinkNode)
"""Types of the nodes at which a stage ends."""


def with_own_stages(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes with cuts between async steps and steps with state. Where there are no async steps, all stay."""
    application = Application("", nodes)
    application = _cut(application, dict(_edges_to_state(application)))
    # One after the other, those above first: below a cut no state is left above an async step that follows another.
    while edges := _next_edges_from_state(application):
        application = _cut(application, edges)
    return list(application.nodes)


def _edges_to_state(application: Application) -> Iterator[tuple[Edge, str]]:
    """Return the edges below async steps that lead to state before another async step, and the name of each cut."""
    for number, step in _async_steps(application):
        for child in application.children_in(None, number):
            if _has_state(application, [child], (*_ENDS, AsyncNode)):
                yield (number, child), f"after {step.name}"


def _next_edges_from_state(application: Application) -> dict[Edge, str]:
    """Return the edges above the first async step that shares its stage with state, and the name of the cut."""
    for number, step in _async_steps(application):
        begun = [child for root in _roots(application, number) for child in application.children_in(None, root)]
        if _has_state(application, begun, _ENDS):
            inputs = [above for above in step.inputs if pool_of(application.nodes[above]) is None]
            return {(above, number): f"before {step.name}" for above in inputs}
    return {}


def _async_steps(application: Application) -> Iterator[tuple[int, AsyncNode]]:
    """Return the async steps of the main pool: other pools hold no state."""
    for number, node in enumerate(application.nodes):
        if isinstance(node, AsyncNode) and node.pool is None:
            yield number, node


def _has_state(application: Application, begun: Iterable[int], ends: tuple[type, ...]) -> bool:
    """Whether some step with state is among ``begun`` or below, before nodes of the types ``ends``."""
    seen: set[int] = set()
    waiting = list(begun)
    while waiting:
        number = waiting.pop()
        node = application.nodes[number]
        if isinstance(node, (StateNode, WindowNode)):
            return True
        if number not in seen and not isinstance(node, ends):
            seen.add(number)
            waiting += application.children_in(None, number)
    return False


def _roots(application: Application, number: int) -> list[int]:
    """Return the nodes at which the stages of a step begin."""
    return _nearest(
        application, number, lambda node: pool_of(node) is not None or isinstance(node, (*KEYING, SourceNode))
    )


def _nearest(application: Application, number: int, is_wanted: Callable[[Node], bool]) -> list[int]:
    """Return, on each path up from a node, the nearest node that is wanted."""
    found: dict[int, None] = {}
    seen: set[int] = set()
    waiting = [number]
    while waiting:
        for above in application.nodes[waiting.pop()].inputs:
            if is_wanted(application.nodes[above]):
                found[above] = None
            elif above not in seen:
                seen.add(above)
                waiting.append(above)
    return list(found)


def _cut(application: Application, edges: Mapping[Edge, str]) -> Application:
    """Return the application with a cut in place of the edges of each name."""
    nodes: list[Node] = []
    numbers: dict[int, int] = {}
    cuts: dict[str, int] = {}
    for number, node in enumerate(application.nodes):
        inputs: list[int] = []
        for above in node.inputs:
            name = edges.get((above, number))
            if name is None:
                inputs.append(numbers[above])
                continue
            if name not in cuts:
                cuts[name] = len(nodes)
                ended = dict.fromkeys(begin for (begin, _), other in edges.items() if other == name)
                nodes.append(CutNode(name, tuple(numbers[begin] for begin in ended), _kind(application, number)))
            if cuts[name] not in inputs:
                inputs.append(cuts[name])
        numbers[number] = len(nodes)
        nodes.append(node._replace(inputs=tuple(inputs)))
    return Application(application.name, nodes)


def _kind(application: Application, number: int) -> str:
    """Return the kind of the node that gives the messages of another their key. Where state is, all are of one kind."""
    first, *_ = _nearest(application, number, lambda node: isinstance(node, (*KEYING, SourceNode)))
    return application.nodes[first].kind
