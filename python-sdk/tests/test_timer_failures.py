"""What goes wrong in steps with timers: calls that fail or kill, and timers that cannot be."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

import wallaroo.testing
from acting import Seen, act, at, passed, ring, seconds, timed
from verbs import failures, outputs, to_stdout
from wallaroo._codec.protocol import CAREFUL, WHOLE
from wallaroo.testing import InProcess
from wallaroo.worker._timed_state import FIRST_CALLED_BEFORE


class FailedError(Exception):
    pass


def fail_first(seen, ctx):
    seen.whats.append("tried")
    ctx.set_timer(seconds(5), "later")
    if len(seen.whats) < 3:
        raise FailedError(ctx.tag)
    return len(seen.whats)


STREAM = [(0, "a", ("after", 1)), (3, "b", ("touch",))]


def test_a_timer_that_fails_is_a_dead_letter():
    p = timed().stateful(act, Seen, on_timer=fail_first, name="act").filter(lambda found: isinstance(found, int))
    outcome = wallaroo.testing.run(to_stdout(p), [*map(str, STREAM), str((9, "b", ("touch",)))])
    (letter,) = outcome.dead_letters
    assert (letter.step, letter.key, letter.message) == ("act", "a", "None")
    assert letter.exception.endswith(".FailedError")
    assert letter.value.whats == [("after", 1), "tried"]
    assert outcome.lines == ["3"], "the state stays as the call has left it, and the timer that it set"


def test_what_a_step_does_about_errors_it_does_for_timers():
    def run(**options):
        p = timed().stateful(act, Seen, on_timer=fail_first, **options).filter(lambda found: isinstance(found, int))
        return failures(p, STREAM)

    assert run(retries=1) == (["3"], [])
    assert run(on_error="skip") == ([], [])
    given, letters = run(on_error=lambda message, error: 7)
    assert (given, len(letters)) == ([], 1)
    with pytest.raises(wallaroo.testing.RunStoppedError, match="FailedError"):
        run(on_error="stop")
    assert run(atomic=True, retries=9)[1] != []
    p = timed().stateful(act, Seen, on_timer=ring, on_error=lambda message, error: message[:2])
    assert outputs(p, [(0, "a", ("fail",))]) == ["(0, 'a')"]


def test_with_atomic_a_failure_leaves_no_trace_in_timers_either():
    def fail(message, seen, ctx):
        seen.append(message[2])
        ctx.set_timer(seconds(message[2]), str(message[2]))
        if message[2] % 2:
            ctx.delete_state()
            raise FailedError
        return list(seen)

    p = timed().stateful(fail, list, on_timer=lambda seen, ctx: (ctx.tag, list(seen)), atomic=True)
    given, letters = failures(p, [(0, "a", 2), (0, "a", 1), (0, "a", 4), (9, "b", 0)])
    assert given == ["[2]", "[2, 4]", "[0]", "('0', [0])", "('2', [2, 4])", "('4', [2, 4])"]
    assert len(letters) == 1


def deadly(skipped):
    """Run two messages behind a timer as one batch without what is skipped. Return what is given, and the marks."""
    marks, given = [], []

    def note(message, seen, ctx):
        given.append((passed(ctx.now), seen.whats.copy()))
        seen.whats.append(message[2])
        ctx.set_timer(at(message[2]), f"t{message[2]}")

    class Marked(InProcess):
        def _skipped(self, messages):
            return skipped if isinstance(messages, list) and messages[0] == "a" else []

        def _run_stage(self, root, messages):
            self._flags = CAREFUL
            super()._run_stage(root, messages)

    app = Marked(
        to_stdout(timed().stateful(note, Seen, on_timer=lambda seen, ctx: seen.whats.append(ctx.tag))), batch=9
    )
    app._marker.entering = lambda batch, node, origin, value: marks.append(value)
    app.send([str((0, "a", 5)), str((9, "a", 7)), str((9, "a", 20))])
    return given, marks


def test_a_timer_that_kills_before_a_message_costs_neither_it_nor_others():
    given, marks = deadly([])
    assert given == [(0, []), (9, [5, "t5"]), (9, [5, "t5", 7, "t7"])]
    in_order = [value for number, value in enumerate(marks) if value != marks[number - 1]]
    timers = [value for value in in_order if FIRST_CALLED_BEFORE <= value < WHOLE]
    assert timers == [FIRST_CALLED_BEFORE, FIRST_CALLED_BEFORE + 1]
    # Each is noted in the place of the message that it comes before, or after, and then that again.
    assert [in_order[in_order.index(timer) + 1] for timer in timers] == [1, 1]
    assert deadly([0, FIRST_CALLED_BEFORE])[0] == [(0, []), (9, [5]), (9, [5, 7, "t7"])]
    assert deadly([0, FIRST_CALLED_BEFORE + 1])[0] == [(0, []), (9, [5, "t5"]), (9, [5, "t5", 7])]
    assert deadly([0, 1])[0] == [(0, []), (9, [5, "t5"])]


@pytest.mark.parametrize(
    ("set_timer", "exception", "words"),
    [
        (lambda ctx: ctx.set_timer(1.5), "TypeError", "set_timer: the time is of type float; give a datetime"),
        (lambda ctx: ctx.set_timer(True), "TypeError", "set_timer: the time is of type bool; give a datetime"),
        (lambda ctx: ctx.set_timer("noon"), "TypeError", "set_timer: the time is of type str; give a datetime"),
        (lambda ctx: ctx.set_timer(datetime(1970, 1, 2)), "ValueError", "set_timer: the datetime has no time zone"),
        (lambda ctx: ctx.set_timer(seconds(-1)), "ValueError", "is negative; give how long after ctx.now"),
        (lambda ctx: ctx.set_timer(seconds(1), 7), "TypeError", "set_timer: tag is of type int, not a str"),
        (lambda ctx: ctx.set_timer(timedelta(days=27_000)), "ValueError", "is more than 73 years after ctx.now"),
        (lambda ctx: ctx.set_timer(datetime.max.replace(tzinfo=timezone.utc)), "ValueError", "73 years after ctx.now"),
    ],
)
def test_timers_that_cannot_be(set_timer, exception, words):
    p = timed().stateful(lambda message, seen, ctx: set_timer(ctx), list, on_timer=ring)
    ((_, found, message),) = failures(p, [(0, "a", 0)])[1]
    assert found == exception
    assert words in message


def test_a_timer_without_anything_to_call():
    p = timed().stateful(lambda message, seen, ctx: ctx.set_timer(seconds(1)), list)
    assert failures(p, [(0, "a", 0)])[1] == [
        ("stateful", "ValueError", "set_timer: the step has no on_timer to call; give stateful(..., on_timer=f)")
    ]


@pytest.mark.parametrize("when", [seconds(0), at(5), at(1)])
def test_a_timer_that_would_be_called_for_ever(when):
    p = timed().stateful(act, Seen, on_timer=lambda seen, ctx: ctx.set_timer(when))
    ((_, exception, message),) = failures(p, [(0, "a", ("at", 5)), (9, "b", ("touch",))])[1]
    assert exception == "ValueError"
    assert message.endswith(
        "is no later than ctx.now, 1970-01-01 00:00:05+00:00; a timer that on_timer sets must be, or it would be called"
        " for ever"
    )
