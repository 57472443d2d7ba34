"""Runs an application in the test's own process: the stages that workers run, with a queue between them.

Steps of all pools run here.

Values cross from stage to stage through the value codec and the wire's messages, as they do between processes.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import msgpack

from wallaroo._codec.key_tags import untagged
from wallaroo._codec.keys import key_from_wire
from wallaroo._codec.protocol import DEFAULT_MAX_BODY, TIMER, Batch
from wallaroo._codec.values import ValueCodec
from wallaroo._hooks import started, stopped
from wallaroo._io.connectors import LENGTH, ConnectorSinkConfig
from wallaroo._io.sources import GenSourceConfig
from wallaroo._pipeline.topology import Application, Node, SinkNode, SourceNode
from wallaroo._steps.durations import Duration, in_nanoseconds
from wallaroo.testing._inputs import Inputs, Message, frames_of, inputs_by_source, whole_number, words
from wallaroo.testing._measured import Measurements
from wallaroo.testing._outcome import DeadLetter, Outcome, RunStoppedError
from wallaroo.testing._plan import planned_stages
from wallaroo.testing._raising import RaisingRun
from wallaroo.testing._states import reload, warn_of_unsaved
from wallaroo.testing._time import StageTimes
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._compile import Compiler
from wallaroo.worker._forked import this_is_the_worker
from wallaroo.worker._lifecycle import Lifecycle, modules_of
from wallaroo.worker._load import codec_of
from wallaroo.worker._marker import Marker
from wallaroo.worker._results import result_bodies
from wallaroo.worker._running_step import Steps
from wallaroo.worker._stage import Stage
from wallaroo.worker._state import StateTables

_IDLE_AFTER = 5_000_000_000
"""Nanoseconds: that of ``wallaroo-orch run``."""


def run(
    application: Application | ModuleType,
    inputs: Inputs = (),
    *,
    args: Sequence[str] = (),
    batch: int = 1,
    restarts: bool = False,
    restart_every: int | None = None,
    raises: bool = False,
) -> Outcome:
    r"""Take messages through an application and return what its sinks were given to write. Sources then end.

    Args:
        application: What ``application_setup`` returns, or the module that has it.
        inputs: Messages for the only source, or those for each source by its name, one source after the other. A
            message is one frame's payload, ``str`` encoded as UTF-8, or what the source's codec writes, such as a dict
            for ``json_lines()``. For a generator source, how many messages to take of it; without it, all.
        args: Words for ``application_setup``, where a module is given.
        batch: How many messages are taken together. With 1, each has gone through all steps before the next begins. A
            :func:`wallaroo.computation_batch` is never given more.
        restarts: After every batch, states are pickled, and loaded when their keys are next needed: see
            :meth:`InProcess.restart`.
        restart_every: The same after every so many batches.
        raises: What a step raises is raised, and is no dead letter: ``pytest --pdb`` stops in the step.

    Warns:
        UnsavedStateWarning: At the end a state cannot be pickled, or cannot be loaded again.

    Raises:
        WallarooParameterError: ``application_setup`` describes what cannot run.
        TypeError: An argument is of another type than said above.
        ValueError: There is no source of a name, ``inputs`` does not say which of several is meant, a message holds the
            delimiter of its source, or its codec refuses it.
        UnsavedStateError: A state cannot be pickled, with ``restarts``.
        RunStoppedError: A message failed in a step with ``on_error="stop"``.

    Example:
        >>> import wallaroo, wallaroo.testing
        >>> class Lines:
        ...     delimiter = b"\n"
        ...     def decode(self, bs):
        ...         return bs.decode()
        ...     def encode(self, data):
        ...         return f"{data}\n"
        >>> @wallaroo.computation(name="invert")
        ... def invert(data):
        ...     return 1 / int(data)
        >>> p = wallaroo.source("numbers", wallaroo.StdinSourceConfig(Lines)).to(invert)
        >>> app = wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(Lines)))
        >>> outcome = wallaroo.testing.run(app, ["2", "0", "4"])
        >>> [(letter.step, letter.exception, letter.value) for letter in outcome.dead_letters]
        [('invert', 'ZeroDivisionError', '0')]
        >>> wallaroo.testing.run(app, ["2", "0", "4"], raises=True)
        Traceback (most recent call last):
        ZeroDivisionError: division by zero
    """
    in_process = InProcess(
        application, args=args, batch=batch, restarts=restarts, restart_every=restart_every, raises=raises
    )
    generators = in_process.generators
    for source, given in inputs_by_source(inputs):
        if isinstance(given, int):
            in_process.generate(given, source=source)
            generators.discard(str(source))
        else:
            in_process.send(given, source=source)
    for source in sorted(generators):
        in_process.generate(source=source)
    in_process.end()
    return in_process.outcome


class InProcess:
    r"""An application that is given messages in portions.

    Args:
        application: As for :func:`run`.
        args: As for :func:`run`.
        batch: As for :func:`run`.
        restarts: As for :func:`run`.
        restart_every: As for :func:`run`.
        raises: As for :func:`run`. After an exception the object cannot go on.
        idle_after: As ``--idle-after`` of ``wallaroo-orch run``: when :meth:`advance` has let more time pass since the
            last message of a source with event times, that source holds back no windows of others. Nanoseconds or a
            ``timedelta``.

    Raises:
        WallarooParameterError: As for :func:`run`.
        TypeError: As for :func:`run`.

    Example:
        >>> import wallaroo, wallaroo.testing
        >>> class Lines:
        ...     delimiter = b"\n"
        ...     def decode(self, bs):
        ...         return bs.decode()
        ...     def encode(self, data):
        ...         return f"{data}\n"
        >>> @wallaroo.state_computation(name="number", state=lambda: [0])
        ... def number(data, state):
        ...     state[0] += 1
        ...     return f"{state[0]} {data}"
        >>> p = wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines)).to(number)
        >>> app = InProcess(wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(Lines))))
        >>> app.send(["to", "be"])
        >>> app.send(["or"])
        >>> app.outcome.lines
        ['1 to', '2 be', '3 or']
    """

    def __init__(
        self,
        application: Application | ModuleType,
        *,
        args: Sequence[str] = (),
        batch: int = 1,
        restarts: bool = False,
        restart_every: int | None = None,
        raises: bool = False,
        idle_after: Duration = _IDLE_AFTER,
    ) -> None:
        self._codec = ValueCodec()
        name = None
        if isinstance(application, ModuleType):
            name = application.__name__
            self._codec = codec_of(application)
            application = application.application_setup(words(args))
        if not isinstance(application, Application):
            raise TypeError(f"the application is {type(application).__name__}, not a built Application or a module")
        modules = {name} if name is not None else modules_of(application)
        self._marker = Marker(None)
        self._measured = Measurements(Steps(application, self._marker))
        self._measured.know_steps()
        self._lifecycle = Lifecycle(application, started.of(modules), stopped.of(modules))
        for hook in self._lifecycle.starts:
            hook.call()
        self._measured.take()
        application = application.without_pools()
        self._nodes = application.nodes
        self._stops_at = application.stops_at
        self._batch_size = whole_number("batch", batch, 1)
        self._restart_every = _restart_every(restarts, restart_every)
        # Batches of sources, among which restarts come.
        self._given = 0
        self._make_run = RaisingRun if raises else BatchRun
        self._batches = itertools.count(1)
        self._flags = 0
        self._tables = StateTables()
        compiler = Compiler(application, self._tables, self._codec, DEFAULT_MAX_BODY)
        planned = planned_stages(application)
        self._stages = {stage.root: _stage(compiler, *stage) for stage in planned}
        silence = whole_number("idle_after", in_nanoseconds(idle_after), 0)
        self._times = StageTimes(application, planned, silence)
        self._sources = {node.name: root for root, node in enumerate(self._nodes) if isinstance(node, SourceNode)}
        self._groups: deque[tuple[int, list[Any]]] = deque()
        self._written: dict[int, list[bytes]] = {
            number: [] for number, node in enumerate(self._nodes) if isinstance(node, SinkNode)
        }
        self._dead_letters: list[DeadLetter] = []
        self._ended: set[int] = set()
        self._is_over = False

    def send(self, messages: Iterable[Message], *, source: str | None = None) -> None:
        """Give messages to a source and take them to the sinks.

        Args:
            messages: As the ``inputs`` of :func:`run`.
            source: The source's name; may be left out when there is only one.

        Raises:
            TypeError: A message is neither ``str`` nor bytes, nor what the source's codec takes.
            ValueError: There is no such source, it is a generator or has ended, a message holds its delimiter, or the
                codec refuses it.
        """
        root = self._source(source, generates=False)
        node = self._nodes[root]
        assert isinstance(node, SourceNode), "found among the sources"
        frames = frames_of(node, messages)
        for start in range(0, len(frames), self._batch_size):
            self._run(root, frames[start : start + self._batch_size])

    def generate(self, most: int | None = None, *, source: str | None = None) -> None:
        """Let a generator source make messages and take them to the sinks.

        Args:
            most: How many messages; all until it ends if left out.
            source: The source's name; may be left out when there is only one.

        Raises:
            ValueError: There is no such source, it is not a generator, or has ended.
        """
        root = self._source(source, generates=True)
        most = most if most is None else whole_number("the number of messages", most, 0)
        while self._stages[root].ended is False and most != 0:
            count = self._batch_size if most is None else min(self._batch_size, most)
            self._run(root, count)
            most = None if most is None else most - count

    def advance(self, nanoseconds: Duration) -> None:
        """Let time pass: later messages of sources without event times arrive that much later, and windows may end.

        Event times do not go on by themselves. But a source that has them and is silent for long holds others back no
        more: see ``idle_after`` of :class:`InProcess`.

        Args:
            nanoseconds: How much time, for example from :func:`wallaroo.seconds`, or a ``timedelta``.

        Raises:
            ValueError: It is negative: time does not go back.

        Example:
            See :meth:`end`.
        """
        self._times.clock += whole_number("nanoseconds", in_nanoseconds(nanoseconds), 0)
        self._wake()

    def end(self, *, source: str | None = None) -> None:
        r"""End sources. A window is complete when all sources that lead to it have ended.

        Args:
            source: The source's name; all sources, if it is left out.

        Warns:
            UnsavedStateWarning: A state cannot be pickled, or cannot be loaded again.

        Raises:
            ValueError: There is no such source.

        Example:
            >>> import wallaroo, wallaroo.testing
            >>> class Lines:
            ...     delimiter = b"\n"
            ...     def decode(self, bs):
            ...         return bs.decode()
            ...     def encode(self, data):
            ...         return f"{data}\n"
            >>> class Count(wallaroo.Aggregation):
            ...     def initial_accumulator(self):
            ...         return 0
            ...     def update(self, data, accumulator):
            ...         return accumulator + 1
            ...     def output(self, key, accumulator):
            ...         return accumulator
            >>> windows = wallaroo.range_windows(wallaroo.seconds(10)).over(Count)
            >>> p = wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines)).to(windows)
            >>> app = InProcess(wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(Lines))))
            >>> app.send(["to", "be"])
            >>> app.advance(wallaroo.seconds(10))
            >>> app.outcome.lines
            ['2']
            >>> app.send(["or"])
            >>> app.end()
            >>> app.outcome.lines
            ['2', '1']
        """
        if source is not None and source not in self._sources:
            raise ValueError(f"there is no source {source!r}: the sources are {', '.join(map(repr, self._sources))}")
        for name, root in self._sources.items():
            if source in (None, name):
                self._times.end(root)
                self._ended.add(root)
        self._wake()
        if len(self._ended) == len(self._sources) and not self._is_over:
            self._is_over = True
            for problem in self._lifecycle.stop():
                print(problem, file=sys.stderr)
            self._measured.take()
            warn_of_unsaved(self._tables)

    def restart(self) -> None:
        r"""Pickle all states and load them when their keys are next needed, as if another worker had them from now on.

        A state that shares an object with another state, or with the module, has an object of its own then. Everything
        else stays: the module is not imported again.

        Raises:
            UnsavedStateError: A state cannot be pickled.

        Example:
            >>> import wallaroo, wallaroo.testing
            >>> class Lines:
            ...     delimiter = b"\n"
            ...     def decode(self, bs):
            ...         return bs.decode()
            ...     def encode(self, data):
            ...         return f"{data}\n"
            >>> @wallaroo.state_computation(name="gather", state=list)
            ... def gather(data, state):
            ...     state.append(data)
            ...     return " ".join(state)
            >>> p = wallaroo.source("lines", wallaroo.StdinSourceConfig(Lines)).to(gather)
            >>> app = InProcess(wallaroo.build_application("app", p.to_sink(wallaroo.StdoutSinkConfig(Lines))))
            >>> app.send(["to"])
            >>> app.restart()
            >>> app.send(["be"])
            >>> app.outcome.lines
            ['to', 'to be']
        """
        reload(self._tables)

    @property
    def generators(self) -> set[str]:
        """The names of the generator sources."""
        return {name for name, root in self._sources.items() if self._generates(root)}

    @property
    def outcome(self) -> Outcome:
        """The outputs, dead letters and metrics so far."""
        outputs: dict[str, list[Any]] = {}
        for number, messages in self._written.items():
            node = self._nodes[number]
            name = node.name
            numbered = (f"{name} ({count})" for count in itertools.count(2))
            unused = name if name not in outputs else next(other for other in numbered if other not in outputs)
            outputs[unused] = _as_given(node, messages)
        return Outcome(outputs, list(self._dead_letters), self._times.late, self._measured.report())

    def _generates(self, root: int) -> bool:
        node = self._nodes[root]
        return isinstance(node, SourceNode) and isinstance(node.source, GenSourceConfig)

    def _source(self, name: str | None, *, generates: bool) -> int:
        known = f"the sources are {', '.join(map(repr, self._sources))}"
        if name is None:
            of_kind = [root for root in self._sources.values() if self._generates(root) is generates]
            if len(of_kind) != 1:
                raise ValueError(f"which source is meant is not said: {known}")
            return self._open(of_kind[0])
        if name not in self._sources:
            raise ValueError(f"there is no source {name!r}: {known}")
        if self._generates(self._sources[name]) is not generates:
            raise ValueError(f"source {name!r} {'takes messages' if generates else 'generates its messages itself'}")
        return self._open(self._sources[name])

    def _open(self, root: int) -> int:
        if root in self._ended:
            raise ValueError(f"source {self._nodes[root].name!r} has ended")
        return root

    def _run(self, root: int, given: list[bytes] | int) -> None:
        self._run_stage(root, given)
        self._run_groups()
        self._wake()
        self._given += 1
        if self._restart_every is not None and self._given % self._restart_every == 0:
            self.restart()

    def _run_groups(self) -> None:
        while self._groups:
            self._run_stage(*self._groups.popleft())

    def _wake(self) -> None:
        """Give keys whose windows are complete their timers."""
        due = self._times.due()
        while due is not None:
            root, key, watermark = due
            self._groups.append((root, [key, 1, TIMER, watermark.to_bytes(8, "little", signed=True)]))
            self._run_groups()
            due = self._times.due()

    def _run_stage(self, root: int, given: Any) -> None:
        this_is_the_worker()
        self._measured.know_steps()
        number = next(self._batches)
        times = self._times.of_batch(root, given)
        batch = Batch(number, root, self._flags, self._skipped(given), times, given)
        run = self._make_run(batch, self._codec, self._marker)
        self._tables.begin_batch(number)
        stage = self._stages[root]
        outlets = stage.run(given, run)
        for body in result_bodies(run, outlets, lambda: 0, ended=stage.ended, max_body=DEFAULT_MAX_BODY):
            _, _, _, _, outputs, failures, _, timing, _ = msgpack.unpackb(body, strict_map_key=False)
            self._measured.take()
            self._times.hear(root, timing)
            fields = iter(outputs)
            for outlet, _, data in zip(fields, fields, fields):
                self._take(outlet, data)
            for node, *failure in failures:
                letter = self._dead_letter(given, node, *failure)
                self._dead_letters.append(letter)
                if self._stops_at(node):
                    raise RunStoppedError(letter)

    def _skipped(self, given: Any) -> list[int]:
        """Return flat ``origin, value`` of what a batch leaves out: nothing here, where no message kills a worker."""
        return []

    def _take(self, outlet: int, data: list[Any]) -> None:
        if outlet in self._written:
            self._written[outlet] += [item.encode("utf-8") if isinstance(item, str) else item for item in data]
        else:
            self._groups.append((outlet, data))

    def _dead_letter(
        self,
        given: Any,
        node: int,
        origin: int,
        key: Any,
        exception: str,
        message: str,
        traceback: str,
        shown_value: str,
        payload: bytes,
        codec: int,
    ) -> DeadLetter:
        value: Any = None
        if codec != 0:
            with contextlib.suppress(Exception):  # The user's unpickling, or a whole group that could not be read.
                (value,) = self._codec.decode(codec, payload, 1)
        elif isinstance(given, list) and isinstance(given[origin], bytes):
            value = given[origin]
        return DeadLetter(
            self._nodes[node].name, untagged(key_from_wire(key)), exception, message, traceback, value, shown_value
        )


def _restart_every(restarts: bool, restart_every: int | None) -> int | None:
    if restart_every is None:
        return 1 if restarts else None
    if restarts:
        raise ValueError("restarts=True is restart_every=1: give one of them")
    return whole_number("restart_every", restart_every, 1)


def _stage(compiler: Compiler, kind: str, root: int, outlets: list[int]) -> Stage:
    stage = compiler.compile(kind, root, outlets)
    assert isinstance(stage, Stage), "no stage is planned to cut frames: they are given whole"
    return stage


def _as_given(node: Node, messages: list[bytes]) -> list[Any]:
    """Return the messages of a sink as its connector would be given them, if it has one."""
    if not (isinstance(node, SinkNode) and isinstance(node.sink, ConnectorSinkConfig)):
        return list(messages)
    return [node.sink.from_payload(message[LENGTH.size :]) for message in messages]
