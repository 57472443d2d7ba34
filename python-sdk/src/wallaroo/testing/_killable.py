"""A connector's object as its process has it: its methods run in one thread, and it can be killed at any line of them.

What kills is an exception that is raised before a line of the connector's own code. The object is thrown away then, and
what it has opened is closed without a word, as the end of a process does it.
"""

from __future__ import annotations

import contextlib
import gc
import linecache
import os
import queue
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType, FunctionType
from typing import Any, Callable, NamedTuple

from wallaroo._connector._calls import Calls
from wallaroo._io.connectors import RejectedMessageError, Sink, Source
from wallaroo.testing._story import Story, shown


class Death(NamedTuple):
    """How a call has ended that was to be killed: at a line, or after it had returned because it has fewer lines."""

    where: str
    had_returned: bool


class Killable:
    """An object of a connector, and the thread that calls its methods.

    Args:
        make: Makes the object, in that thread.
        story: Takes in what is done.
        patience: Seconds after which a call that does not return is a fault.

    Raises:
        AssertionError: ``make``, or a method later, has raised an exception or does not return.
    """

    def __init__(self, make: Callable[[], Any], story: Story, patience: float) -> None:
        self._story, self._patience = story, patience
        self._todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Result] = queue.SimpleQueue()
        # A daemon: a method that never returns does not keep the test from ending.
        self._thread = threading.Thread(target=_serve, args=(make, self._todo, self._done), daemon=True)
        self._thread.start()
        self._result("__init__", patience)

    def call(self, name: str, *args: Any, wait: float = 0.0) -> Any:
        """Call a method and return its result.

        Args:
            name: Of the method.
            args: Its arguments.
            wait: Seconds for which it may wait for something.

        Raises:
            RejectedMessageError: The method has raised it.
        """
        self._todo.put((name, args, None))
        result = self._result(name, wait + self._patience)
        if isinstance(result.error, RejectedMessageError):
            raise result.error
        return result.value

    def kill_in(self, line: int, name: str, *args: Any, wait: float = 0.0) -> Death:
        """Call a method and kill it before its line number ``line``, counted from 0 as they run; or after all of them.

        Args:
            line: How many lines are run before.
            name: Of the method.
            args: Its arguments.
            wait: Seconds for which it may wait for something.

        Raises:
            RejectedMessageError: The method has raised it, and was killed after that.
        """
        self._todo.put((name, args, line))
        result = self._result(name, wait + self._patience)
        where = result.killed_at
        death = Death(f"when {name}() had returned" if where is None else where, where is None)
        self._story.add(f"killed {death.where}")
        self._throw_away()
        if isinstance(result.error, RejectedMessageError):
            raise result.error
        return death

    def kill(self) -> None:
        """Throw the object away, as the end of its process would."""
        self._story.add("killed: the object was thrown away without close()")
        self._throw_away()

    def close(self) -> None:
        """Call ``close``, and let the object go."""
        self._story.add("closed")
        self.call("close")
        self._throw_away()

    def _throw_away(self) -> None:
        with warnings.catch_warnings():
            # What it has opened and not closed.
            warnings.simplefilter("ignore")
            self._todo.put(None)
            self._thread.join()
            gc.collect()

    def _result(self, name: str, patience: float) -> _Result:
        try:
            result = self._done.get(timeout=patience)
        except queue.Empty:
            raise self._story.fault(
                f"{name}() does not return",
                expected=f"{name}() returns within {patience:g} s",
                came="it still runs",
                advice=f"wait no longer than needed in {name}(): nothing else of the connector is called meanwhile",
            ) from None
        if result.error is not None and not isinstance(result.error, RejectedMessageError):
            raise self._story.fault(
                f"{name}() has raised {type(result.error).__name__}",
                expected=f"{name}() returns",
                came=f"{type(result.error).__name__}: {result.error}",
                advice="see the exception above: it ends the process, and the next one begins in the same way",
            ) from result.error
        return result


class _Result(NamedTuple):
    """The result of a call."""

    value: Any = None
    error: BaseException | None = None
    killed_at: str | None = None


class _KilledError(BaseException):
    """Ends a call. No ``except Exception`` of the user's catches it."""


class _LineTracer:
    """A trace function that raises an error before a line of the connector's code.

    Args:
        files: Of that code.
        lines: How many lines are run before.
    """

    def __init__(self, files: frozenset[str], lines: int) -> None:
        self._files, self._left = files, lines
        self.killed_at: str | None = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Trace the lines of a frame that begins, if it is of the connector."""
        return self._trace_line if self.killed_at is None and frame.f_code.co_filename in self._files else None

    def _trace_line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line" and self.killed_at is None:
            self._left -= 1
            if self._left < 0:
                self.killed_at = _place(frame)
                raise _KilledError
        return self._trace_line


def _place(frame: FrameType) -> str:
    code, number = frame.f_code, frame.f_lineno
    text = linecache.getline(code.co_filename, number).strip()
    return f"in {code.co_name}(), before line {number} of {os.path.basename(code.co_filename)}" + (text and f": {text}")


def _serve(make: Callable[[], Any], todo: queue.SimpleQueue[Any], done: queue.SimpleQueue[_Result]) -> None:
    """Call what is to be called until that is ``None``. The object ends with this function: nothing else has it."""
    calls = Calls()
    try:
        connector = make()
    except BaseException as error:  # noqa: BLE001 - the user's
        done.put(_Result(error=error))
        return
    files = _files_of(connector)
    done.put(_Result())
    while (job := todo.get()) is not None:
        name, args, lines = job
        done.put(_called(calls, getattr(connector, name), args, None if lines is None else _LineTracer(files, lines)))
    calls.abandon()


def _called(calls: Calls, method: Callable[..., Any], args: Any, tracer: _LineTracer | None) -> _Result:
    before = sys.gettrace()
    if tracer is not None:
        sys.settrace(tracer)
    try:
        result = _Result(calls.call(method, *args))
    except _KilledError:
        result = _Result()
    except BaseException as error:  # noqa: BLE001 - the user's
        result = _Result(error=error)
    finally:
        if tracer is not None:
            sys.settrace(before)
    # What comes of a call that was killed, nobody hears.
    return result if tracer is None or tracer.killed_at is None else _Result(killed_at=tracer.killed_at)


def _files_of(connector: object) -> frozenset[str]:
    """Return the files of a connector's methods, as its code names them."""
    kinds = [kind for kind in type(connector).__mro__ if kind not in (Source, Sink)]
    methods = [method for kind in kinds for method in vars(kind).values() if isinstance(method, FunctionType)]
    return frozenset(method.__code__.co_filename for method in methods)


def made_by(make: Callable[[], Any], kind: type, check: str) -> Any:
    """Return an object that ``make`` makes.

    Raises:
        TypeError: It makes something else, or the same object twice.
    """
    if not callable(make):
        raise TypeError(f"{check}: make is {shown(make)}; give a function that makes a new {kind.__name__}")
    made, other = make(), make()
    if not isinstance(made, kind):
        raise TypeError(f"{check}: make() returned {shown(made)}; it returns a new wallaroo.{kind.__name__}")
    if made is other:
        raise TypeError(f"{check}: make() returned the same object twice; it makes a new one, as a new process would")
    return made


@contextlib.contextmanager
def quick_collections() -> Iterator[None]:
    """Let collections of garbage look at new objects only: there is one after each death."""
    if sys.implementation.name != "cpython":
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
