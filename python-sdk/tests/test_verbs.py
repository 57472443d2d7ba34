"""The verbs without state: what they give, how they are named, and what happens when their functions raise."""

from __future__ import annotations

import functools
import operator
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wallaroo
import wallaroo.testing
from stages import Runner
from verbs import failures, lines, literal, outputs, shown, steps, to_stdout, values

BATCHES = [1, 2, 100]


class Doubles:
    def __call__(self, number):
        return 2 * number

    def double(self, number):
        return 2 * number


def double(number):
    return 2 * number


class Wrapped:
    def __init__(self, number):
        self.number = number

    def __repr__(self):
        return str(2 * self.number)


CALLABLES = {
    "double": double,
    "map": lambda number: 2 * number,
    "Doubles": Doubles(),
    "bound": Doubles().double,
    "mul": functools.partial(operator.mul, 2),
    "partial of a partial": functools.partial(functools.partial(operator.mul), 2),
    "Wrapped": Wrapped,
    "decorated": wallaroo.computation(name="twice")(double),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", CALLABLES)
def test_any_callable_is_a_step(name, batch):
    function = CALLABLES[name]
    assert outputs(values().map(function), [1, 2], batch=batch) == ["2", "4"]
    assert outputs(values().key_by(int).map(function), [1, 2], batch=batch) == ["2", "4"]


WITHOUT_A_CLOSER_LOOK = """
import operator, sys, wallaroo
class Lines:
    delimiter = b";"
    def decode(self, bs):
        return bs.decode()
    def encode(self, data):
        return data
p = wallaroo.source("p", wallaroo.StdinSourceConfig(Lines)).flat_map(str.split).map(str.lower).inspect()
p = p.map("{}".format).filter(len).filter(bool).map(operator.itemgetter(0)).map(bytes.fromhex).map(abs)
p = p.key_by(str).reduce(operator.add).stateful(dict.get, dict)
print("inspect" in sys.modules)
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="functions written in C are those of CPython")
def test_no_module_is_imported_to_look_at_builtins():
    """Importing ``inspect`` would take a tenth of a worker's start."""
    source = Path(wallaroo.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_CLOSER_LOOK], env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("False\n", "")


BUILTINS = {
    "too few": (lambda p: p.map(operator.add), "map(add): add(a, b, /) cannot be called with 1 argument (message)"),
    "too many": (
        lambda p: p.reduce(len),
        "reduce(len): len(obj, /) cannot be called with 2 arguments (value, message)",
    ),
    "of a class": (lambda p: p.reduce(str.upper), "reduce(upper): upper(self, /) cannot be called with 2 arguments"),
    "of an object": (lambda p: p.reduce([].append), "reduce(append): append(object, /) cannot be called with 2"),
}


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="functions written in C are those of CPython")
@pytest.mark.parametrize("name", BUILTINS)
def test_builtins_that_cannot_be_called(name):
    make, message = BUILTINS[name]
    with pytest.raises(wallaroo.WallarooParameterError) as caught:
        make(lines())
    assert caught.value.message.startswith(f"pipeline 'lines', {message}")


def test_a_step_is_named_after_its_function():
    p = values()
    for function in CALLABLES.values():
        p = p.map(function)
    named = ["double", "map", "Doubles", "double-2", "mul", "mul-2", "Wrapped", "twice"]
    assert steps(p) == named
    others = p.map(operator.itemgetter("user")).flat_map(str.split).filter(bool).inspect().key_by(len).key_by("user")
    assert steps(others)[len(named) :] == ["itemgetter", "split", "bool", "print", "len", "user"]


def test_names_may_be_given():
    p = lines().map(str.upper, name="shout").filter(bool, name="shout").key_by(len, name="length")
    assert steps(p) == ["shout", "shout-2", "length"]


def test_functions_and_pipelines_may_be_used_any_number_of_times():
    p = values().map(double)
    for _ in range(3):
        p = p.map(double)
    assert outputs(p, [1]) == ["16"]
    assert steps(p.map(double), p.map(double)) == ["double", "double-2", "double-3", "double-4", "double-5", "double-6"]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("placed", [lambda p: p, lambda p: p.key_by(int).stateful(lambda n, _: n, dict)])
def test_what_filter_flat_map_and_inspect_give(placed, batch):
    numbers = [1, 2, 3, 4]
    assert outputs(placed(values()).filter(lambda n: n % 2), numbers, batch=batch) == ["1", "3"]
    assert outputs(placed(values()).flat_map(range), numbers[:3], batch=batch) == ["0", "0", "1", "0", "1", "2"]
    assert outputs(placed(values()).flat_map(lambda n: [n, None] if n > 2 else None), numbers, batch=batch) == [
        "3",
        "4",
    ]
    assert outputs(placed(values()).map(lambda n: n if n > 3 else None), numbers, batch=batch) == ["4"]
    looked_at = []
    assert outputs(placed(values()).inspect(looked_at.append), numbers, batch=batch) == ["1", "2", "3", "4"]
    assert looked_at == numbers


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("placed", [lambda p: p, lambda p: p.key_by(int).stateful(lambda n, _: n, dict)])
def test_map_batch_is_given_many_messages(placed, batch):
    sizes = []

    def halves(numbers):
        sizes.append(len(numbers))
        return [number // 2 if number % 2 == 0 else None for number in numbers]

    assert outputs(placed(values()).map_batch(halves), [1, 2, 3, 4], batch=batch) == ["1", "2"]
    assert sizes == {1: [1] * 4, 2: [2, 2], 100: [4]}[batch]
    assert steps(values().map_batch(halves).map_batch(lambda numbers: numbers)) == ["halves", "map_batch"]
    _, failed = failures(placed(values()).map_batch(sum), [1, 2], batch=batch)
    assert failed[0][2].startswith("map_batch returned int; return a list of outputs")


def test_inspect_prints(capsys):
    assert outputs(lines().inspect(), ["to", "be"]) == ["'to'", "'be'"]
    assert capsys.readouterr().out == "to\nbe\n"


def raises_for_two(number):
    if number == 2:
        raise ValueError("two")
    return [number]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("placed", [lambda p: p, lambda p: p.key_by(int), lambda p: p.key_by(int).map(int).key_by(int)])
@pytest.mark.parametrize("verb", ["map", "filter", "flat_map", "inspect", "branch", "key_by", "stateful"])
def test_a_message_for_which_a_function_raises_is_a_dead_letter(verb, placed, batch):
    p = placed(values())
    made = {
        "stateful": lambda: p.stateful(lambda number, _: raises_for_two(number), dict, name="raises_for_two"),
        "branch": lambda: p.branch(raises_for_two)[0],
        "key_by": lambda: p.key_by(lambda number: raises_for_two(number)[0], name="raises_for_two"),
    }
    failing = made[verb]() if verb in made else getattr(p, verb)(raises_for_two)
    given, failed = failures(failing.map(str), [1, 2, 3], batch=batch)
    assert [line.strip("[]'") for line in given] == ["1", "3"]
    assert failed == [("raises_for_two", "ValueError", "two")]


def not_of_even(number):
    if number % 2 == 0:
        raise ValueError(number)
    return number


ABOVE = {
    "filter": lambda p: p.filter(lambda number: number > 2),
    "inspect": lambda p: p.inspect(lambda number: 1 // (number - 3)),
    "branch": lambda p: p.branch(lambda number: number > 2)[0],
    "both branches": lambda p: (lambda branches: branches[0].map(int).merge(branches[1]))(p.branch(not_of_even)),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("verb", ABOVE)
def test_what_fails_below_is_known_by_its_key(verb, batch):
    p = ABOVE[verb](values().key_by(int)).map(not_of_even)
    outcome = wallaroo.testing.run(to_stdout(p), ["1", "2", "3", "4", "5", "6"], batch=batch)
    failed = [(letter.key, letter.value) for letter in outcome.dead_letters]
    assert {number for _, number in failed} >= {4, 6}
    assert all(key == number for key, number in failed)


@pytest.mark.parametrize("batch", BATCHES)
def test_computations_behind_a_state(batch):
    looked_at = []
    p = values().key_by(int).stateful(lambda n, _: n, dict).map(double).filter(lambda n: n != 4)
    p = p.inspect(looked_at.append).map(lambda n: None if n == 6 else n).filter(lambda n: 1 // (n - 8) or True)
    given, failed = failures(p, [1, 2, 3, 4, 5], batch=batch)
    assert given == ["2", "10"]
    assert looked_at == [2, 6, 8, 10]
    assert [(step, exception) for step, exception, _ in failed] == [("filter-2", "ZeroDivisionError")]


class Order:
    def __init__(self, user):
        self.user = user


def test_keys_by_the_name_of_a_field():
    dicts = [{"user": "ada"}, {"user": "eve"}]
    assert outputs(values().key_by("user").count(), dicts) == ["('ada', 1)", "('eve', 1)"]
    assert outputs(lines().map(Order).key_by("user").count(), ["ada", "eve"]) == ["('ada', 1)", "('eve', 1)"]


def test_a_message_without_the_field():
    _, failed = failures(values().key_by("user").count(), [{"name": "ada"}, {}])
    assert failed == [
        ("user", "LookupError", "the message has no field 'user'; its fields are: 'name'"),
        ("user", "LookupError", "the message has no field 'user'; it has no fields"),
    ]
    _, failed = failures(lines().map(Order).key_by("name").count(), ["ada"])
    assert failed == [("name", "LookupError", "a message of type Order has no field 'name'; its fields are: 'user'")]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("placed", [lambda p: p, lambda p: p.key_by(int)])
def test_a_message_is_in_one_branch_and_its_function_is_called_once(placed, batch):
    called = []

    def is_odd(number):
        called.append(number)
        return number % 2

    odd, even = placed(values()).branch(is_odd)
    outcome = wallaroo.testing.run(to_stdout(odd, even.map(double)), ["1", "2", "3"], batch=batch)
    assert outcome.outputs == {"stdout": [b"1\n", b"3\n"], "file out1": [b"4\n"]}
    assert called == [1, 2, 3]


def test_a_branch_that_is_not_used_is_no_step():
    _, even = values().branch(lambda number: number % 2)
    assert steps(even) == ["branch", "branch: false"]
    assert outputs(even, [1, 2, 3, 4], batch=3) == ["2", "4"]
    assert outputs(even.key_by(int).branch(lambda number: number > 2)[1], [1, 2, 3, 4]) == ["2"]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("placed", [lambda p: p, lambda p: p.key_by(len)])
def test_split_by_names(placed, batch):
    branches = placed(values()).split(operator.itemgetter(0), ["a", "b", "unused"])
    a, b, _ = branches
    assert (len(branches), branches["b"] is b) == (3, True)
    outcome = wallaroo.testing.run(
        to_stdout(a.merge(b.map(len)), b), ["'ape'", "'bee'", "'cow'", "'ant'", "[]", "[['a']]"], batch=batch
    )
    assert sorted(outcome.outputs["stdout"]) == [b"'ant'\n", b"'ape'\n", b"3\n"]
    assert outcome.outputs["file out1"] == [b"'bee'\n"]
    assert sorted(letter.message for letter in outcome.dead_letters if letter.exception == "LookupError") == [
        "split: the function returned 'c', which is no branch: 'a', 'b', 'unused'"
    ]
    assert {letter.step for letter in outcome.dead_letters} == {"itemgetter"}
    assert len(outcome.dead_letters) == 3


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("placed", [lambda p: p, lambda p: p.key_by(len), lambda p: p.key_by(len).map(list)])
def test_branches_do_not_see_each_others_changes(placed, batch):
    def added(text):
        def add(values):
            values.append(text)
            return values

        return add

    p = placed(values())
    first, second = p.branch(lambda values: "x" not in values)
    pipelines = [p.map(added("a")), p.inspect(added("b")), first.map(added("c")), first.filter(added("d"))]
    outcome = wallaroo.testing.run(to_stdout(*pipelines, second), ["['x']", "[]"], batch=batch)
    assert list(outcome.outputs.values()) == [
        [b"['x', 'a']\n", b"['a']\n"],
        [b"['x', 'b']\n", b"['b']\n"],
        [b"['c']\n"],
        [b"['d']\n"],
        [b"['x']\n"],
    ]


def test_order_is_kept_where_branches_merge():
    odd, even = values().branch(lambda number: number % 2)
    p = odd.map(double).merge(even.map(double))
    assert outputs(p, [1, 2, 3, 4], batch=4) == ["2", "4", "6", "8"]


def test_decorated_steps_and_verbs_mix():
    @wallaroo.computation_multi(name="words")
    def words(line):
        return line.split()

    @wallaroo.key_extractor
    def first(word):
        return word[0]

    p = lines().flat_map(words).key_by(first).to(wallaroo.computation(name="upper")(str.upper)).count()
    assert outputs(p, ["to tea", "be"]) == ["('t', 1)", "('t', 2)", "('b', 1)"]
    assert steps(p) == ["words", "first", "upper", "count"]


def test_pools():
    p = lines()
    true, false = p.branch(bool, pool="b")
    pools = [
        node.pool
        for node in to_stdout(
            p.map(len, pool="m"),
            p.flat_map(str.split, pool="m"),
            p.filter(bool, pool="m"),
            p.inspect(pool="m"),
            true,
            false,
            p.split(str.lower, ["a"], pool="s")["a"],
        ).nodes
        if node.kind == "computation"
    ]
    assert pools == ["m"] * 4 + ["b"] * 3 + ["s"] * 2


@pytest.mark.parametrize("number", [1, 2])
def test_branches_that_go_on_in_another_pool(number):
    after, before = lines().branch(lambda line: line > "m")
    application = to_stdout(after.map(str.upper, pool="other"), before)
    assert [node.name for node in application.nodes][2::3] == ["branch: true", "branch: false"]
    runner = Runner(application, ("frames", 0, [2, 6], None), ("groups", 2, [3], "other"), ("groups", 3, [4], None))
    outcome = runner.run(0, [b"a", b"z", b"b"] * number)
    assert outcome.outputs[6] == ["'a'\n", "'b'\n"] * number
    assert runner.read(outcome.outputs[2]) == [(None, ["z"] * number)]
    assert runner.read(runner.run(1, outcome.outputs[2]).outputs[3]) == [(None, ["Z"] * number)]


def test_the_short_forms_are_what_the_long_ones_are():
    def described(build, end):
        return build("app", end(lines().map(len))).describe()

    long = described(wallaroo.build_application, lambda p: p.to_sink(wallaroo.StdoutSinkConfig(shown)))
    assert described(wallaroo.application, lambda p: p.sink(wallaroo.StdoutSinkConfig(shown))) == long
    assert wallaroo.StdinSourceConfig(literal).describe() == long["nodes"][0]["source"]
