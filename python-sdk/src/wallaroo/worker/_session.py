"""The conversation with the orchestrator, from the first message to the last, in the order of spec/protocol.md."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from time import perf_counter_ns, thread_time_ns
from typing import Any, NoReturn, TypeVar

from wallaroo._codec import protocol as protocol
from wallaroo._codec.keys import key_from_wire
from wallaroo._codec.protocol import ProtocolError
from wallaroo._version import __version__
from wallaroo.metrics import measure_in, take_measurements
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._compile import Compiler
from wallaroo.worker._connection import Connection
from wallaroo.worker._load import Loaded, LoadError, load
from wallaroo.worker._log_levels import write_error
from wallaroo.worker._marker import Marker
from wallaroo.worker._progress import standstill
from wallaroo.worker._results import Elapsed, result_bodies, snapshot_bodies
from wallaroo.worker._running_step import Steps, know_steps, running_step
from wallaroo.worker._stage import AnyStage, CutStage
from wallaroo.worker._state import StateTable, StateTables

M = TypeVar("M")

_MOSTLY_WAITING = 4
"""A batch that took this many times its processor time has waited for something, and not for a core alone."""


class RefusedError(Exception):
    """The worker cannot serve. It holds the message to send before it exits."""

    def __init__(self, refused: protocol.Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


class Session:
    """One worker's conversation.

    Args:
        connection: To the orchestrator.
        marker: Notes which step runs.
        copies: Folder of the copies of the edition's code; ``None``: the code is not frozen.
    """

    def __init__(self, connection: Connection, marker: Marker, copies: str | None = None) -> None:
        self._connection = connection
        self._marker = marker
        self._copies = copies
        self._tables = StateTables(marker)
        self._stages: dict[int, AnyStage] = {}
        self._loaded: Loaded | None = None
        self._is_told_to_stop = False
        # Table and key of the state that the last message ended with, if that restored one: another piece may follow.
        self._restored_last: tuple[str, Any] | None = None

    def run(self) -> None:
        """Serve until ``stop`` or the end of the stream.

        Raises:
            RefusedError: Said to the orchestrator already.
            ProtocolError: The orchestrator sent what it must not.
        """
        self._send(_greeting())
        try:
            if self._shake_hands():
                self._serve()
        except LoadError as error:
            self._refuse(error.refused)
        if self._is_told_to_stop and self._loaded is not None:
            for problem in self._loaded.lifecycle.stop():
                write_error(problem)

    def _shake_hands(self) -> bool:
        """Greet, load and compile; ``False`` when the orchestrator left meanwhile."""
        try:
            hello = self._expect(protocol.Hello)
        except protocol.VersionError as error:
            self._refuse(_other_version(error))
        if hello is None:
            return False
        self._connection.limit(hello.max_body)
        message = self._expect(protocol.Load)
        if message is None:
            return False
        loaded = load(message.application, message.args, self._copies)
        self._loaded = loaded
        know_steps(Steps(loaded.application, self._marker))
        measure_in(running_step)
        self._send(protocol.Topology(loaded.application.describe()))
        plan = self._expect(protocol.Plan)
        if plan is None:
            return False
        compiler = Compiler(loaded.application, self._tables, loaded.codec, self._connection.max_body)
        try:
            self._stages = {stage: compiler.compile(*described) for stage, *described in plan.stages}
        except ProtocolError as error:
            self._refuse(protocol.Refused("protocol", str(error), "use the wallaroo-orch of this SDK", None))
        _settle_memory()
        self._send(protocol.Ready())
        return True

    def _serve(self) -> None:
        while True:
            body = self._connection.receive()
            if body is None:
                return
            elapsed = _stopwatch()
            message = protocol.decode(body)
            if message.__class__ is not protocol.Restore:
                self._restored_last = None
            if isinstance(message, protocol.Batch):
                self._batch(message, elapsed)
            elif isinstance(message, protocol.Restore):
                self._restore(message)
            elif isinstance(message, (protocol.Snapshot, protocol.SnapshotKeys)):
                for part in snapshot_bodies(self._tables, message, self._connection.max_body):
                    self._connection.send(part)
            elif isinstance(message, protocol.Forget):
                self._forget(message)
            elif isinstance(message, protocol.TryRestore):
                self._try(message)
            elif isinstance(message, protocol.DoNotSave):
                self._tables.do_not_save(map(key_from_wire, message.states))
            elif isinstance(message, protocol.DoNotLoad):
                self._tables.do_not_load(map(key_from_wire, message.states))
            elif isinstance(message, protocol.Stop):
                self._is_told_to_stop = True
                return
            else:
                raise ProtocolError(f"message {type(message).__name__} after the worker was ready")

    def _batch(self, message: protocol.Batch, elapsed: Elapsed) -> None:
        stage = self._stages.get(message.stage)
        if stage is None:
            raise ProtocolError(f"batch {message.batch} is for stage {message.stage}, which is not in the plan")
        if isinstance(stage, CutStage):
            self._cut(stage, message, elapsed)
            return
        assert self._loaded is not None, "the handshake is over"
        run = BatchRun(message, self._loaded.codec, self._marker)
        self._tables.begin_batch(message.batch)
        # The answer to a withdrawn batch is dropped.
        outlets = () if self._marker.is_withdrawn(message.batch) else stage.run(message.input, run)
        stood = standstill()
        if stood is not None and stood.batch == message.batch and run.keys:
            run.slow = stood.group_of(message.input[1::4])
        bodies = result_bodies(
            run,
            outlets,
            elapsed,
            ended=stage.ended,
            max_body=self._connection.max_body,
        )
        body = next(bodies)
        for following in bodies:
            self._connection.send(body)
            body = following
        # Packing calls user code too, to pickle. Once the last part is sent the batch is over, so the mark goes first.
        self._marker.idle(message.batch)
        # Before the answer: a run may end with it.
        measurements = take_measurements()
        if measurements:
            self._send(protocol.Measured(measurements))
        self._connection.send(body)

    def _cut(self, stage: CutStage, message: protocol.Batch, elapsed: Elapsed) -> None:
        if type(message.input) is not bytes:
            raise ProtocolError("the input of a cut batch is not bin")
        self._marker.entering(message.batch, stage.root)
        stream = b"" if self._marker.is_withdrawn(message.batch) else message.input
        frames, consumed, need, error = stage.cutter.cut(stream)
        self._marker.idle(message.batch)
        self._send(protocol.CutResult(message.batch, elapsed(), frames, consumed, need, error))

    def _restore(self, message: protocol.Restore) -> None:
        fields = iter(message.entries)
        for name, key, state in zip(fields, fields, fields):
            table = self._table(name)
            if (name, key) == self._restored_last:
                table.restore_more(key_from_wire(key), state)
            else:
                table.restore(key_from_wire(key), state)
                self._restored_last = name, key

    def _forget(self, message: protocol.Forget) -> None:
        fields = iter(message.states)
        for name, key in zip(fields, fields):
            self._table(name).forget(key_from_wire(key))

    def _try(self, message: protocol.TryRestore) -> None:
        fields = iter(message.entries)
        problem = None
        for name, key, state in zip(fields, fields, fields):
            problem = self._table(name).try_out(key_from_wire(key), state)
            if problem is not None:
                problem = " ".join(problem.splitlines())
                break
        self._send(protocol.Tried(message.request, problem))

    def _table(self, name: str) -> StateTable:
        table = self._tables.find(name)
        if table is None:
            raise ProtocolError(f"a state is for table {name!r}, which no stage of the plan has")
        return table

    def _send(self, message: protocol.Sent) -> None:
        self._connection.send(protocol.encode(message))

    def _expect(self, kind: type[M]) -> M | None:
        """Receive a message that must be a ``kind``; ``None`` at the end of the stream or at ``stop``."""
        body = self._connection.receive()
        if body is None:
            return None
        message: Any = protocol.decode(body)
        if isinstance(message, protocol.Stop):
            self._is_told_to_stop = True
            return None
        if not isinstance(message, kind):
            raise ProtocolError(f"expected message {kind.__name__}, got {type(message).__name__}")
        return message

    def _refuse(self, refused: protocol.Refused) -> NoReturn:
        self._send(refused)
        raise RefusedError(refused)


def _stopwatch() -> Elapsed:
    """Return what tells the nanoseconds from now on: those this thread computes, unless it mostly waits.

    The orchestrator sizes batches by them. Time on the clock grows where processes share a core, and batches would be
    smallest, and so cost most, just when there is least processor time.
    """
    began, cpu_began = perf_counter_ns(), thread_time_ns()

    def elapsed() -> int:
        passed, computed = perf_counter_ns() - began, thread_time_ns() - cpu_began
        return computed if computed * _MOSTLY_WAITING > passed else passed

    return elapsed


def _greeting() -> protocol.WorkerHello:
    return protocol.WorkerHello(
        protocol.VERSION,
        __version__,
        list(protocol.CAPABILITIES),
        sys.implementation.name,
        ".".join(map(str, sys.version_info[:3])),
        sys.executable or "",
        os.getpid(),
        pickle.HIGHEST_PROTOCOL,
    )


def _other_version(error: protocol.VersionError) -> protocol.Refused:
    sdk = f"wallaroo-sdk {__version__} speaks protocol {protocol.VERSION}"
    return protocol.Refused(
        "protocol",
        f"wallaroo-orch {error.version} speaks protocol {error.protocol}, {sdk}",
        f"install the same version of wallaroo-sdk for {sys.executable}",
        None,
    )


def _settle_memory() -> None:
    """Take what importing made, which stays, out of the collector's sight.

    Its thresholds are left alone: on word count, 700 to 200,000 objects made no difference beyond the noise of 5 %.
    """
    gc.collect()
    if hasattr(gc, "freeze"):  # Not in PyPy.
        gc.freeze()
