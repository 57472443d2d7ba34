"""``on_error=`` and ``retries=``: what a step does with a message for which its function raises."""

from __future__ import annotations

import pytest

import wallaroo
from verbs import failures, outputs, to_stdout, values
from wallaroo import WallarooParameterError
from wallaroo.worker._guarded import guarded_application

NUMBERS = [2, 0, 1]


def half(number):
    return 2 // number


def halves(number):
    yield 2 // number
    yield number


def half_of_all(numbers):
    return [2 // number for number in numbers]


def add(number, seen):
    seen.append(number)
    return sum(seen), 2 // number


def give_all(number, seen):
    seen.append(number)
    yield sum(seen)
    yield 2 // number


def said(number, error):
    return f"{number}: {error}"


def branches(p, **options):
    true, false = p.branch(lambda number: half(number) > 1, **options)
    return true.map(lambda number: f"true {number}").merge(false)


def split(p, **options):
    left, right = p.split(lambda number: "ab"[half(number) - 1], ["a", "b"], **options)
    return left.map(lambda number: f"a {number}").merge(right)


DIVISION = "integer division or modulo by zero"
# The verb, what it gives where messages that fail are skipped, and what it gives for one if the handler says so.
VERBS = {
    "map": (lambda p, **o: p.map(half, **o), ["1", "2"], said, [f"'0: {DIVISION}'"]),
    "flat_map": (lambda p, **o: p.flat_map(halves, **o), ["1", "2", "2", "1"], lambda n, e: [n, n], ["0", "0"]),
    "map_batch": (lambda p, **o: p.map_batch(half_of_all, **o), ["1", "2"], said, [f"'0: {DIVISION}'"]),
    "filter": (lambda p, **o: p.filter(half, **o), ["2", "1"], lambda n, e: True, ["0"]),
    "inspect": (lambda p, **o: p.inspect(half, **o), ["2", "1"], lambda n, e: True, ["0"]),
    "branch": (branches, ["2", "'true 1'"], lambda n, e: False, ["0"]),
    "split": (split, ["'a 2'", "1"], lambda n, e: "a", ["'a 0'"]),
    "stateful": (lambda p, **o: p.stateful(add, list, **o), ["(2, 1)", "(3, 2)"], said, [f"'0: {DIVISION}'"]),
    "computation": (lambda p, **o: p.to(wallaroo.computation("c", **o)(half)), ["1", "2"], lambda n, e: n, ["0"]),
    "computation_multi": (
        lambda p, **o: p.to(wallaroo.computation_multi("c", **o)(halves)),
        ["1", "2", "2", "1"],
        lambda n, e: (n, None),
        ["0"],
    ),
    "computation_batch": (
        lambda p, **o: p.to(wallaroo.computation_batch("c", **o)(half_of_all)),
        ["1", "2"],
        lambda n, e: n,
        ["0"],
    ),
    "state_computation": (
        lambda p, **o: p.to(wallaroo.state_computation("c", list, **o)(add)),
        ["(2, 1)", "(3, 2)"],
        lambda n, e: n,
        ["0"],
    ),
    "state_computation_multi": (
        lambda p, **o: p.to(wallaroo.state_computation_multi("c", list, **o)(give_all)),
        ["2", "1", "3", "2"],
        lambda n, e: [n],
        ["0"],
    ),
    "a decorated function in a verb": (
        lambda p, **o: p.map(wallaroo.computation("c", **o)(half)),
        ["1", "2"],
        lambda n, e: n,
        ["0"],
    ),
}


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("verb", VERBS)
def test_messages_that_fail(verb, batch, keyed):
    add_verb, skipped, handle, given = VERBS[verb]
    p = values().key_by(lambda number: "all") if keyed else values()
    (failed,) = failures(add_verb(p), NUMBERS, batch=batch)[1]
    assert failed[1:] == ("ZeroDivisionError", DIVISION)
    assert sorted(outputs(add_verb(p, on_error="skip"), NUMBERS, batch=batch)) == sorted(skipped)
    assert sorted(outputs(add_verb(p, on_error=handle), NUMBERS, batch=batch)) == sorted([*skipped, *given])


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("verb", VERBS)
def test_a_handler_that_gives_nothing(verb, batch):
    add_verb, skipped, *_ = VERBS[verb]
    if verb != "branch":
        given, failed = failures(add_verb(values(), on_error=lambda number, error: None), NUMBERS, batch=batch)
        assert sorted(given) == sorted(skipped)
        # A split has no branch of that name.
        assert [each[1] for each in failed] == (["LookupError"] if verb == "split" else [])


class Away:
    """Fails so often for each message before it works."""

    def __init__(self, times):
        self.times = times
        self.tried = []

    def __call__(self, number, state=None):
        self.tried.append(number)
        if self.tried.count(number) <= self.times:
            raise ConnectionError(f"away {self.tried.count(number)}")
        return number


@pytest.mark.parametrize("batch", [1, 100])
def test_retries(batch):
    service = Away(2)
    assert outputs(values().map(service, retries=2), [5, 6], batch=batch) == ["5", "6"]
    assert service.tried == [5, 5, 5, 6, 6, 6]
    service = Away(2)
    assert outputs(values().stateful(lambda n, s: service(n), list, retries=2), [5, 6], batch=batch) == ["5", "6"]
    service = Away(3)
    assert failures(values().map(service, retries=2), [5], batch=batch)[1] == [("Away", "ConnectionError", "away 3")]


def test_a_batch_is_tried_again_once_a_message_is_alone():
    tried = []

    def call(numbers):
        tried.append(numbers)
        if 0 in numbers and tried.count([0]) < 2:
            raise ConnectionError
        return numbers

    assert outputs(values().map_batch(call, retries=1), [1, 0], batch=2) == ["1", "0"]
    assert tried == [[1, 0], [1], [0], [0]]


def test_a_handler_may_raise():
    def refuse(number, error):
        raise LookupError(f"no {number}") from error

    outcome = wallaroo.testing.run(to_stdout(values().map(half, on_error=refuse)), ["0"])
    (letter,) = outcome.dead_letters
    assert (letter.exception, letter.message) == ("LookupError", "no 0")
    assert "ZeroDivisionError" in letter.traceback


@pytest.mark.parametrize("policy", [{"on_error": "skip"}, {"on_error": said}, {"retries": 3}])
def test_what_is_no_error_of_a_message_is_a_dead_letter(policy):
    def leave(number):
        raise SystemExit

    assert failures(values().map(leave, **policy), [1])[1] == [("leave", "SystemExit", "")]
    (failed,) = failures(values().flat_map(str, **policy), [1])[1]
    assert failed[2] == "flat_map or compute_multi returned str, which would be taken apart; return a list of outputs"
    (failed,) = failures(values().map_batch(len, **policy), [1])[1]
    assert failed[2] == "map_batch returned int; return a list of outputs, one for each message"


def test_other_steps_are_called_as_they_are():
    app = to_stdout(values().map(half).flat_map(halves).stateful(add, list))
    assert guarded_application(app) is app
    given = values().map(half, on_error="dead-letter", retries=0)
    assert guarded_application(to_stdout(given)).nodes[1].call is half


def test_a_step_may_end_the_run():
    app = to_stdout(values().map(half, on_error="stop").map(str))
    assert app.describe()["stop_at"] == [1]
    assert "stop_at" not in to_stdout(values().map(half)).describe()
    with pytest.raises(wallaroo.testing.RunStoppedError, match=r"step 'half' .* ended the run: ") as caught:
        wallaroo.testing.run(app, ["2", "0", "4"])
    assert caught.value.dead_letter.value == 0


MISTAKES = {
    "another word": (
        {"on_error": "ignore"},
        "on_error is 'ignore'",
        'give "dead-letter", "skip", "stop", or a function of the message and the exception',
    ),
    "no word": ({"on_error": None}, "on_error is None", 'give "dead-letter", "skip", "stop", or a function of'),
    "a function of one argument": (
        {"on_error": lambda error: None},
        "on_error(error) cannot be called with 2 arguments (message, error)",
        "define it as handle(message, error)",
    ),
    "too few": ({"retries": -1}, "retries is -1, not a number of tries", "give 0 or a larger int, such as retries=2"),
    "yes": ({"retries": True}, "retries is True, not a number of tries", "give 0 or a larger int"),
    "a duration": ({"retries": 1.5}, "retries is of type float, not a number of tries", "give 0 or a larger int"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case):
    options, problem, hint = MISTAKES[case]
    for where, make in (
        ("pipeline 'values', map(half): ", lambda: values().map(half, **options)),
        ("@wallaroo.computation: ", lambda: wallaroo.computation("c", **options)),
    ):
        with pytest.raises(WallarooParameterError) as caught:
            make()
        assert str(caught.value).startswith(where + problem)
        assert hint in str(caught.value)


def test_a_step_of_the_builder_says_itself_what_it_gives():
    with pytest.raises(WallarooParameterError, match="'c' has no state="):
        wallaroo.state_computation("c", on_error="skip")(add)
