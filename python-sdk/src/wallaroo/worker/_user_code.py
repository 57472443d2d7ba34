"""Where the user's code is in the nodes of an application: functions, methods, and the objects they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

from wallaroo._pipeline.topology import Node, SinkNode, SourceNode, WindowNode
from wallaroo._steps.wrapping import layers
from wallaroo._windows.aggregations import BuiltInAggregation
from wallaroo._windows.timed_state import TimedState
from wallaroo._windows.windows import WindowStep

_FUNCTIONS = (FunctionType, BuiltinFunctionType, type)
_OF_AGGREGATIONS = ("initial_accumulator", "update", "combine", "output")


def things_of(node: Node) -> list[Any]:
    """Return what the user gave for a node: functions, methods and objects, perhaps wrapped in others."""
    if isinstance(node, SourceNode):
        return [node.source.decoder, getattr(node.source, "generator", None)]
    if isinstance(node, SinkNode):
        return [node.sink.encoder]
    if isinstance(node, WindowNode):
        return [node.step.aggregation, *_called_by(node.step)]
    return [getattr(node, "call", None)]


def owner_of(thing: Any) -> tuple[Any, bool]:
    """Return the object that ``thing`` is, or whose method it is; ``None`` for a function.

    Also return whether the object itself is called.
    """
    *_, thing = layers(thing)
    if isinstance(thing, MethodType):
        return thing.__self__, False
    return (None, False) if thing is None or isinstance(thing, _FUNCTIONS) else (thing, callable(thing))


def codes_of(node: Node) -> Iterator[tuple[CodeType, Any]]:
    """Return the code of the functions and methods that are called when a node runs, and each method's object."""
    for call in _calls(node):
        for layer in layers(call):
            yield from _code(layer)


def _calls(node: Node) -> list[Any]:
    if isinstance(node, SourceNode):
        generator = getattr(node.source, "generator", None)
        making = [getattr(generator, name, None) for name in ("initial_value", "apply")]
        return [node.source.decode, node.source.event_time, *making]
    if isinstance(node, SinkNode):
        return [node.sink.encode]
    if isinstance(node, WindowNode):
        methods = (getattr(node.step.aggregation, name, None) for name in _OF_AGGREGATIONS)
        return [*methods, *_called_by(node.step), _handler(node)]
    return [getattr(node, "call", None), _handler(node)]


def _called_by(step: WindowStep[Any, Any]) -> list[Any]:
    if isinstance(step.windows, TimedState):
        return [step.windows.calls, step.windows.on_timer]
    return [step.aggregation.calls] if isinstance(step.aggregation, BuiltInAggregation) else []


def _handler(node: Node) -> Any:
    errors = getattr(node, "errors", None)
    return errors.handler if errors is not None else None


def _code(call: Any) -> Iterator[tuple[CodeType, Any]]:
    owner = None
    if isinstance(call, MethodType):
        call, owner = call.__func__, call.__self__
    elif not isinstance(call, (FunctionType, type)) and callable(call):
        call, owner = type(call).__call__, call
    if isinstance(call, FunctionType):
        yield call.__code__, owner
