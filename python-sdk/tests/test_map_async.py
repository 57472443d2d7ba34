"""``map_async``: what it gives, in which order, and what happens to calls that fail."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
import warnings

import pytest

import wallaroo
import wallaroo.testing
from verbs import failures, outputs, to_stdout, values
from wallaroo.worker import _event_loop

BATCHES = [1, 3, 100]


async def double(number):
    await asyncio.sleep(0)
    return 2 * number


async def add(left, right):
    return left + right


class Doubles:
    async def __call__(self, number):
        return 2 * number

    async def double(self, number):
        return 2 * number


class Later:
    """Can be awaited, and is no coroutine."""

    def __init__(self, number):
        self._number = number

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return 2 * self._number


class MakesLater:
    def __call__(self, number):
        return Later(number)


def traced(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args)

    return call


CALLABLES = {
    "double": double,
    "map_async": lambda number: double(number),
    "Doubles": Doubles(),
    "bound": Doubles().double,
    "add": functools.partial(lambda n, m: add(n, m), 0),
    "later": MakesLater(),
    "a task": lambda number: asyncio.ensure_future(double(number)),
    "decorated": traced(double),
}


def keyed(pipeline):
    return pipeline.key_by(lambda number: "all")


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", CALLABLES)
def test_any_callable_that_returns_an_awaitable(name, batch):
    function = CALLABLES[name]
    expected = ["1", "2"] if name == "add" else ["2", "4"]
    assert outputs(values().map_async(function), [1, 2], batch=batch) == expected
    assert outputs(keyed(values()).map_async(function), [1, 2], batch=batch) == expected


async def none_for_odd(number):
    return None if number % 2 else number


@pytest.mark.parametrize("batch", BATCHES)
def test_none_is_no_output(batch):
    assert outputs(values().map_async(none_for_odd), range(5), batch=batch) == ["0", "2", "4"]


class Stairs:
    """Calls that end in the opposite order: each waits for the one that began after it."""

    def __init__(self, count):
        self._count = count
        self._events = {}
        self.most = self.under_way = 0

    def _event(self, number):
        return self._events.setdefault(number, asyncio.Event())

    async def __call__(self, number):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if number + 1 < self._count:
            await self._event(number + 1).wait()
        self._event(number).set()
        self.under_way -= 1
        return number


def merged(pipeline):
    """Make the stage run message by message."""
    return pipeline.merge(pipeline.filter(lambda number: False))


@pytest.mark.parametrize(("ordered", "expected"), [(True, ["0", "1", "2"]), (False, ["2", "1", "0"])])
@pytest.mark.parametrize("placed", [list, keyed, merged])
def test_order_within_a_batch(ordered, expected, placed):
    pipeline = values() if placed is list else placed(values())
    calls = Stairs(3)
    assert outputs(pipeline.map_async(calls, ordered=ordered), [0, 1, 2], batch=3) == expected
    assert calls.most == 3


def test_so_many_calls_at_once():
    now, most = 0, 0

    async def call(number):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return number

    assert len(outputs(values().map_async(call, concurrency=3), range(20), batch=20)) == 20
    assert most == 3


def test_one_loop_for_all_batches_and_steps():
    loops = []

    async def note(number):
        loops.append(asyncio.get_running_loop())
        return number

    outputs(values().map_async(note).map_async(note), range(4), batch=2)
    assert len(loops) == 8
    assert len(set(map(id, loops))) == 1
    loops[0].close()
    outputs(values().map_async(note), [0])
    assert loops[-1] is not loops[0]
    with warnings.catch_warnings():
        # The first releases of Python 3.10 and 3.11 warn of it outside of a loop.
        warnings.simplefilter("ignore")
        assert asyncio.get_event_loop() is loops[-1]


async def leave(error):
    raise error


async def fail_in_a_task(error):
    await asyncio.ensure_future(leave(error))


async def cancel_itself(error):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def cancel_all(error):
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)


async def stop_the_loop(error):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    raise error


async def close_the_loop(error):
    asyncio.get_running_loop().close()


RAISING = {
    "error": (leave, ValueError("x"), "ValueError"),
    "exit": (leave, SystemExit(1), "SystemExit"),
    "interrupt": (leave, KeyboardInterrupt(), "KeyboardInterrupt"),
    "generator": (leave, GeneratorExit(), "GeneratorExit"),
    "cancelled": (leave, asyncio.CancelledError(), "asyncio.exceptions.CancelledError"),
    "error in a task": (fail_in_a_task, ValueError("x"), "ValueError"),
    "exit in a task": (fail_in_a_task, SystemExit(1), "SystemExit"),
    "cancels itself": (cancel_itself, None, "asyncio.exceptions.CancelledError"),
    "stops the loop": (stop_the_loop, ValueError("x"), "ValueError"),
    "closes the loop": (close_the_loop, None, "RuntimeError"),
}


@pytest.mark.parametrize("case", RAISING)
@pytest.mark.parametrize("batch", BATCHES)
def test_what_a_call_raises_is_the_failure_of_its_message(case, batch):
    function, error, exception = RAISING[case]

    async def call(number):
        await asyncio.sleep(0)
        if number == 2:
            await function(error)
        return number

    # More than one round: others begin after the failure.
    given, failed = failures(values().map_async(call, concurrency=2), range(5), batch=batch)
    assert given == ["0", "1", "3", "4"]
    assert [(step, kind) for step, kind, _ in failed] == [("call", exception)]


def test_calls_that_are_cancelled_from_outside_fail_and_others_go_on():
    async def call(number):
        if number == 1:
            await cancel_all(None)
        await asyncio.sleep(0)
        return number

    given, failed = failures(values().map_async(call, concurrency=3), range(5), batch=5)
    assert given == ["3", "4"]
    assert {kind for _, kind, _ in failed} == {"asyncio.exceptions.CancelledError"}
    assert len(failed) == 3


def test_the_traceback_is_that_of_the_function():
    (letter,) = wallaroo.testing.run(
        to_stdout(values().map_async(lambda number: leave(ValueError("x")))), ["1"]
    ).dead_letters
    assert "raise error\n" in letter.traceback
    assert "asyncio" not in letter.traceback
    assert "_attempts" not in letter.traceback
    assert letter.value == 1


def test_a_function_that_returns_no_awaitable():
    for retries in (0, 3):
        ((_, exception, message),) = failures(values().map_async(lambda number: number, retries=retries), [1])[1]
        assert exception == "TypeError"
        assert message == (
            "map_async is given int by its function, which cannot be awaited; define the function with async def, or"
            " use map"
        )


def test_what_a_call_raises_can_be_raised_by_the_test():
    with pytest.raises(ValueError, match="x") as caught:
        outputs(values().map_async(lambda number: leave(ValueError("x"))), [1], raises=True)
    assert caught.traceback[-1].name == "leave"


def test_tasks_that_calls_leave_behind_run_on_with_the_next_ones():
    ran = []

    async def behind(number):
        await asyncio.sleep(0)
        ran.append(number)
        if number == 0:
            raise SystemExit

    tasks = []

    async def call(number):
        tasks.append(asyncio.ensure_future(behind(number)))
        return number

    assert outputs(values().map_async(call), range(3)) == ["0", "1", "2"]
    assert outputs(values().map_async(double), range(3)) == ["0", "2", "4"]
    assert ran == [0, 1, 2]
    assert isinstance(tasks[0].exception(), SystemExit)


def test_at_the_end_tasks_that_are_left_can_close_what_they_hold(monkeypatch):
    loop, closed = asyncio.new_event_loop(), []

    async def hold(patient):
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(patient)
            while patient:
                await asyncio.sleep(0)

    monkeypatch.setattr(_event_loop, "_PATIENCE", 0.01)
    left = [loop.create_task(hold(patient)) for patient in (False, True)]
    loop.run_until_complete(asyncio.sleep(0))
    _event_loop.close(loop)
    assert (sorted(closed), loop.is_closed()) == ([False, True], True)
    _event_loop.close(loop)
    assert [task.done() for task in left] == [True, False]
    left[1]._log_destroy_pending = False


def test_a_test_that_is_async_is_told_what_to_do():
    async def test():
        return outputs(values().map_async(double), [1])

    loop = asyncio.new_event_loop()
    with pytest.raises(RuntimeError, match="inside of an event loop: call wallaroo"):
        loop.run_until_complete(test())

    async def in_a_thread():
        return await loop.run_in_executor(None, outputs, values().map_async(double), [1])

    assert loop.run_until_complete(in_a_thread()) == ["2"]
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


FORKS = """
import asyncio, os, sys
import wallaroo, wallaroo.testing
from verbs import outputs, values
async def call(number):
    await asyncio.sleep(0)
    if number == 1 and os.fork() == 0:
        await asyncio.sleep(0)
        print("the child goes on", flush=True)
    await asyncio.sleep(0.01)
    print(number, os.getpid() == parent, flush=True)
    return number
parent = os.getpid()
print(outputs(values().map_async(call), range(3), batch=3), flush=True)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_child_that_a_call_forks_makes_no_calls():
    ran = subprocess.run(
        [sys.executable, "-c", FORKS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines() == ["0 True", "1 True", "2 True", "['0', '1', '2']", "70"], ran.stderr


def test_asyncio_is_imported_by_those_who_need_it():
    code = "import sys, wallaroo.worker._session; print('asyncio' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
