"""An application's steps as one chain, for the contenders that are written in Python.

They run the same user objects, taken from the SDK's graph. The code between the objects is specific to the application,
as if it were written by hand for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

from wallaroo._pipeline.topology import (
    Application,
    CollectNode,
    ComputationNode,
    KeyByNode,
    SinkNode,
    SourceNode,
    StateNode,
)


class Chain:
    """The steps of an application with one source, one sink, and at most one key.

    Args:
        application: The return value of ``application_setup``.
    """

    def __init__(self, application: Application) -> None:
        self._before: list[Any] = []
        self._after: list[Any] = []
        self.keyed = False
        for node in application.nodes:
            if isinstance(node, (KeyByNode, CollectNode)):
                if self.keyed:
                    raise NotImplementedError("a chain has at most one key")
                self.keyed = True
            (self._after if self.keyed else self._before).append(node)

    def whole(self) -> Callable[[Iterable[bytes], Callable[[Any], None], dict[Any, Any]], None]:
        """Return ``run(frames, write, states)``, which runs frames through all steps."""
        nodes = self._before + self._after
        return self._compile("def run(frames, write, states):", ["for value in frames:"], nodes)

    def until_key(self) -> Callable[[Iterable[bytes], Callable[[Any], None]], None]:
        """Return ``run(frames, write)``: writes (key, value) pairs, or runs all steps if there is no key."""
        nodes = self._before + self._after[:1]
        return self._compile("def run(frames, write):", ["for value in frames:"], nodes)

    def from_key(self) -> Callable[[Iterable[Any], Callable[[Any], None], Any], None]:
        """Return ``run(values, write, state)``: the steps after the key, for values of one key."""
        return self._compile("def run(values, write, state):", ["for value in values:"], self._after[1:])

    def new_state(self) -> Any:
        """Return the state of a new key."""
        return next(node.build() for node in self._after if isinstance(node, StateNode))

    def _compile(self, header: str, lines: list[str], nodes: list[Any]) -> Callable[..., None]:
        names: dict[str, Any] = {}
        depth = 1
        whole = header.startswith("def run(frames, write, states)")
        body = list(lines)

        def add(text: str) -> None:
            body.append("    " * depth + text)

        for index, node in enumerate(nodes):
            call = f"call_{index}"
            if isinstance(node, SourceNode):
                names[call] = node.source.decode
                add(f"value = {call}(value)")
            elif isinstance(node, ComputationNode):
                names[call] = node.call
                add(f"for value in {call}(value):" if node.multi else f"value = {call}(value)")
                depth += node.multi
            elif isinstance(node, KeyByNode):
                names[call] = node.call
                add(f"key = {call}(value)")
            elif isinstance(node, CollectNode):
                add("key = None")
            elif isinstance(node, StateNode):
                names[call], names["build"] = node.call, node.build
                if whole:
                    add("state = states.get(key)")
                    add("if state is None:")
                    add("    state = states[key] = build()")
                add(f"value, _ = {call}(value, state)")
            elif isinstance(node, SinkNode):
                names[call] = node.sink.encode
                add(f"write({call}(value))")
                break
            if isinstance(node, (KeyByNode, CollectNode)):
                if whole:
                    continue
                add("write((key, value))")
                break
            add("if value is None:")
            add("    continue")
        # Names are bound as default arguments, which is fastest.
        header = header.replace("):", "".join(f", {name}={name}" for name in names) + "):")
        exec("\n    ".join([header, *body]), names)
        return names["run"]  # type: ignore[no-any-return]
