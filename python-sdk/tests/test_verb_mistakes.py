"""Typical mistakes with verbs: the exact words of the error, and of the hint that says what to do."""

from __future__ import annotations

import operator
from datetime import datetime, timedelta

import pytest

import wallaroo
from verbs import failures, lines, shown, text, values
from wallaroo import WallarooParameterError, count_windows


def parse(line):
    return line


def two(left, right):
    return left


def watch(line, total, ctx):
    return line


async def remind(total, ctx):
    return total


async def fetch(line):
    return line


def words(line):
    yield from line.split()


class Order:
    def __init__(self, user, quantity):
        self.user, self.quantity = user, quantity


class Total:
    count = 0


class Upper:
    def compute(self, data):
        return data.upper()


@wallaroo.computation(name="decorated")
def decorated(line):
    return line


@wallaroo.state_computation(name="with state", state=Total)
def with_state(line, total):
    return line


def sink():
    return wallaroo.StdoutSinkConfig(shown)


CASES = {
    "a call in place of a function": (
        lambda: lines().inspect(print()),
        "pipeline 'lines', inspect(None): the argument is of type NoneType, not a function",
        "give inspect the function itself, without calling it; for example lambda message: ...",
    ),
    "the name of a field": (
        lambda: lines().map("user"),
        "pipeline 'lines', map('user'): the argument is of type str, not a function",
        "give a function, such as lambda message: message['user'], and not a name or what a function returned",
    ),
    "what a function returned": (
        lambda: lines().map(parse("a line")),
        "pipeline 'lines', map('a line'): the argument is of type str, not a function",
        "give a function, such as lambda message: ..., and not a name or what a function returned",
    ),
    "a number": (
        lambda: lines().filter(len([])),
        "pipeline 'lines', filter(0): the argument is of type int, not a function",
        "give filter the function itself, without calling it; for example lambda message: ...",
    ),
    "a truth value": (
        lambda: lines().filter(True),
        "pipeline 'lines', filter(True): the argument is of type bool, not a function",
        "give filter the function itself, without calling it; for example lambda message: ...",
    ),
    "a list": (
        lambda: lines().flat_map([1, 2]),
        "pipeline 'lines', flat_map(list): the argument is of type list, not a function",
        "give flat_map a function, for example lambda message: ...",
    ),
    "a function of two arguments": (
        lambda: lines().map(two),
        "pipeline 'lines', map(two): two(left, right) cannot be called with 1 argument (message)",
        "define it as two(message); a message is one argument, also if it is a tuple",
    ),
    "a lambda for a pair": (
        lambda: lines().key_by(str).count().map(lambda word, count: word),
        "pipeline 'lines', map(<lambda>): <lambda>(word, count) cannot be called with 1 argument (message)",
        "write lambda message: ...; a message is one argument, also if it is a tuple",
    ),
    "a lambda without an argument": (
        lambda: lines().filter(lambda: True),
        "pipeline 'lines', filter(<lambda>): <lambda>() cannot be called with 1 argument (message)",
        "write lambda message: ...; a message is one argument, also if it is a tuple",
    ),
    "a class that needs two arguments": (
        lambda: lines().map(Order),
        "pipeline 'lines', map(Order): Order(user, quantity) cannot be called with 1 argument (message)",
        "give a function that calls it, such as lambda message: Order(...)",
    ),
    "a class of the builder's": (
        lambda: lines().map(Upper),
        "pipeline 'lines', map(Upper): Upper() cannot be called with 1 argument (message)",
        "give its method: Upper().compute",
    ),
    "an object of the builder's": (
        lambda: lines().map(Upper()),
        "pipeline 'lines', map(Upper): the argument is of type Upper, not a function",
        "give its method: Upper().compute",
    ),
    "an async function": (
        lambda: lines().map(fetch),
        "pipeline 'lines', map(fetch): fetch is async, and nothing would await it",
        "use map_async, or define it as: def fetch(message)",
    ),
    "an async function of another verb": (
        lambda: lines().filter(fetch),
        "pipeline 'lines', filter(fetch): fetch is async, and nothing would await it",
        "define it as: def fetch(message)",
    ),
    "a function that yields": (
        lambda: lines().map(words),
        "pipeline 'lines', map(words): words yields, and its result would be the generator itself",
        "return the result, or use flat_map for a function that yields",
    ),
    "a filter that yields": (
        lambda: lines().filter(words),
        "pipeline 'lines', filter(words): words yields, and its result would be the generator itself",
        "return whether the message is kept, or use flat_map for a function that yields",
    ),
    "a decorated step": (
        lambda: lines().filter(decorated),
        "pipeline 'lines', filter(decorated): decorated is a step already",
        "add it with to(decorated), or give filter the function without its decorator",
    ),
    "a decorated step with state": (
        lambda: lines().map(with_state),
        "pipeline 'lines', map(with_state): with_state is a step already",
        "add it with to(with_state), or give map the function without its decorator",
    ),
    "a decoder": (
        lambda: lines().map(text),
        "pipeline 'lines', map(text): text is decorated already",
        "give map a function without a decorator",
    ),
    "a sink as a function": (
        lambda: lines().map(sink()),
        "pipeline 'lines', map(StdoutSinkConfig): the argument is of type StdoutSinkConfig, not a function",
        "give map a function, for example lambda message: ...",
    ),
    "an empty name": (
        lambda: lines().map(len, name=""),
        "pipeline 'lines', map(len): name must be a non-empty str of printable characters, got ''",
        "give it a name people know",
    ),
    "a name that is a function": (
        lambda: lines().count(name=len),
        "pipeline 'lines', count(): name must be a non-empty str of printable characters, got <built-in function len>",
        "give it a name people know",
    ),
    "a reserved name": (
        lambda: lines().count(name="window:count"),
        "pipeline 'lines', count(): name 'window:count' begins with the reserved word 'window:'",
        "give the state another name",
    ),
    "an empty pool": (
        lambda: lines().map(len, pool=""),
        "pipeline 'lines', map(len): pool is an empty str, not a pool's name",
        'give the name that --pool NAME=PYTHON or wallaroo.toml defines, as pool="legacy"',
    ),
    "a verb after the sink": (
        lambda: lines().sink(sink()).map(len),
        "pipeline 'lines', map(len): pipeline 'lines' has ended with sink",
        "every call returns a new pipeline: branch off the one before the sink",
    ),
    "a second sink": (
        lambda: lines().sink(sink()).sink(sink()),
        "pipeline 'lines', sink: pipeline 'lines' has ended with sink",
        "every call returns a new pipeline: branch off the one before the sink",
    ),
    "a lambda for to": (
        lambda: lines().to(lambda line: line),
        "pipeline 'lines', to(<lambda>): the argument is the function <lambda>, not a step",
        "use map, filter, flat_map or another verb, which take any function",
    ),
    "an empty field": (
        lambda: lines().key_by(""),
        "pipeline 'lines', key_by(''): the name of the field is empty",
        "give the name of a field",
    ),
    "several fields": (
        lambda: lines().key_by(["user", "day"]),
        "pipeline 'lines', key_by(list): the argument is of type list, not a function",
        "for a key of several fields give a function that returns a tuple, as lambda message: "
        "(message['user'], message['day'])",
    ),
    "a step as a key": (
        lambda: lines().key_by(decorated),
        "pipeline 'lines', key_by(decorated): the argument is of type Computation, not a key function",
        "put @wallaroo.key_extractor above a function that returns the message's key, in place of the other decorator",
    ),
    "a key that yields": (
        lambda: lines().key_by(words),
        "pipeline 'lines', key_by(words): words yields, and its result would be the generator itself",
        "return the key",
    ),
    "a reduce of one argument": (
        lambda: lines().reduce(lambda line: line),
        "pipeline 'lines', reduce(<lambda>): <lambda>(line) cannot be called with 2 arguments (value, message)",
        "write lambda value, message: ...",
    ),
    "a class in place of a function of two arguments": (
        lambda: lines().reduce(Total),
        "pipeline 'lines', reduce(Total): Total() cannot be called with 2 arguments (value, message)",
        "give a function that calls it, such as lambda value, message: Total(...)",
    ),
    "a first value for reduce": (
        lambda: lines().reduce(0),
        "pipeline 'lines', reduce(0): the argument is of type int, not a function",
        "give reduce the function itself, without calling it; for example lambda value, message: ...",
    ),
    "a field to sum up": (
        lambda: lines().sum("amount"),
        "pipeline 'lines', sum('amount'): the argument is of type str, not a function",
        "give a function, such as lambda message: message['amount'], and not a name or what a function returned",
    ),
    "a mean that yields": (
        lambda: lines().mean(words),
        "pipeline 'lines', mean(words): words yields, and its result would be the generator itself",
        "return the value of the message",
    ),
    "a number to deduplicate by": (
        lambda: lines().dedup(by=3),
        "pipeline 'lines', dedup(3): the argument is of type int, not a function",
        "give dedup the function itself, without calling it; for example lambda message: ...",
    ),
    "an immutable state": (
        lambda: lines().stateful(two, int),
        "pipeline 'lines', stateful(two): state is the class int, and a step cannot change such a state in place",
        "give a class with an attribute for what changes, such as: class Total: count = 0",
    ),
    "a state object": (
        lambda: lines().stateful(two, Total()),
        "pipeline 'lines', stateful(two): state is of type Total, not a class",
        "give the class of the state, not an object of it",
    ),
    "a state that needs arguments": (
        lambda: lines().stateful(two, Order),
        "pipeline 'lines', stateful(two): state: Order(user, quantity) cannot be called with no argument",
        "define it as __init__(self) in class Order",
    ),
    "a function without the state": (
        lambda: lines().stateful(parse, Total),
        "pipeline 'lines', stateful(parse): parse(line) cannot be called with 2 arguments (message, state)",
        "define it as parse(message, state)",
    ),
    "a function of four arguments with a state": (
        lambda: lines().stateful(lambda line, total, ctx, more: line, Total),
        "pipeline 'lines', stateful(<lambda>): <lambda>(line, total, ctx, more) cannot be called with 2 "
        "arguments (message, state)",
        "write lambda message, state: ...",
    ),
    "a timer that nothing sets": (
        lambda: lines().stateful(two, Total, on_timer=lambda total, ctx: None),
        "pipeline 'lines', stateful(two): on_timer is given, and two takes no ctx to set a timer with",
        "give a function of three arguments, message, state, ctx, and call ctx.set_timer(...) in it",
    ),
    "a timer without ctx": (
        lambda: lines().stateful(watch, Total, on_timer=lambda total: None),
        "pipeline 'lines', stateful(watch): on_timer: <lambda>(total) cannot be called with 2 arguments (state, ctx)",
        "write lambda state, ctx: ...",
    ),
    "a timer of message, state and ctx": (
        lambda: lines().stateful(watch, Total, on_timer=watch),
        "pipeline 'lines', stateful(watch): on_timer: watch(line, total, ctx) cannot be called with 2 arguments"
        " (state, ctx)",
        "define it as watch(state, ctx)",
    ),
    "a duration as on_timer": (
        lambda: lines().stateful(watch, Total, on_timer=wallaroo.minutes(30)),
        "pipeline 'lines', stateful(watch): on_timer: the argument is of type int, not a function",
        "give on_timer the function itself, without calling it; for example lambda state, ctx: ...",
    ),
    "a timer that yields": (
        lambda: lines().stateful(watch, Total, on_timer=lambda total, ctx: (yield)),
        "pipeline 'lines', stateful(watch): on_timer: <lambda> yields, and its result would be the generator itself",
        "return the value: a state changes in place, and flat_map makes several outputs of a list",
    ),
    "a timer that is async": (
        lambda: lines().stateful(watch, Total, on_timer=remind),
        "pipeline 'lines', stateful(watch): on_timer: remind is async, and nothing would await it",
        "define it as: def remind(state, ctx)",
    ),
    "a state that lives for seconds as a float": (
        lambda: lines().stateful(two, Total, ttl=1.5),
        "pipeline 'lines', stateful(two): ttl=1.5: the argument must be a whole number from 1 to 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "a state that lives for no time": (
        lambda: lines().stateful(two, Total, ttl=timedelta(0)),
        "pipeline 'lines', stateful(two): ttl=datetime.timedelta(0): the argument must be a whole number from 1 to"
        " 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "a state that lives for a negative time": (
        lambda: lines().stateful(two, Total, ttl=-wallaroo.hours(1)),
        "pipeline 'lines', stateful(two): ttl=-3600000000000: the argument must be a whole number from 1 to 2**61",
        "durations are in nanoseconds: wallaroo.seconds(10), for example; or a datetime.timedelta",
    ),
    "a function with a state that yields": (
        lambda: lines().stateful(lambda line, total: (yield line), Total),
        "pipeline 'lines', stateful(<lambda>): <lambda> yields, and its result would be the generator itself",
        "return the value: a state changes in place, and flat_map makes several outputs of a list",
    ),
    "a decorated step with a state given again": (
        lambda: lines().stateful(with_state, Total),
        "pipeline 'lines', stateful(with_state): with_state is a step already",
        "add it with to(with_state), or give stateful the function without its decorator",
    ),
    "names in one str": (
        lambda: lines().split(parse, "abc"),
        "pipeline 'lines', split(parse): names is of type str, not a list",
        "give a list",
    ),
    "no names": (
        lambda: lines().split(parse, []),
        "pipeline 'lines', split(parse): names is empty",
        "give the name of each branch",
    ),
    "a name twice": (
        lambda: lines().split(parse, ["a", "b", "a"]),
        "pipeline 'lines', split(parse): 'a' is in names twice",
        "give the name of each branch once",
    ),
    "names that are numbers": (
        lambda: lines().split(len, [1, 2]),
        "pipeline 'lines', split(len): names has a value of type int, not only str",
        "the function returns names: str",
    ),
    "an unknown branch": (
        lambda: lines().split(parse, ["a", "b"])["c"],
        "pipeline 'lines', split(parse): there is no branch 'c'",
        "the branches are 'a', 'b'",
    ),
    "an application of a list": (
        lambda: wallaroo.application("app", [lines().sink(sink())]),
        "application 'app': pipelines[0] is of type list, not a pipeline",
        "give each pipeline as an argument of its own: application(name, *pipelines)",
    ),
    "an application without pipelines": (
        lambda: wallaroo.application("app"),
        "application 'app' has no pipeline",
        "give application the pipelines it is made of",
    ),
    "an application without a name": (
        lambda: wallaroo.application(lines().sink(sink())),
        "application: name must be a non-empty str of printable characters, got <Pipeline 'lines'>",
        "give it a name people know",
    ),
    "a pipeline without a sink": (
        lambda: wallaroo.application("app", lines().map(len)),
        "application 'app': pipeline 'lines' has not ended",
        "end it with to_sink(...) or to_sinks([...]), and give what that returns",
    ),
    "a path as a sink": (
        lambda: lines().sink("out.txt"),
        "pipeline 'lines', sink: the argument is of type str, not a sink config",
        "for example wallaroo.TCPSinkConfig(host, port, encoder)",
    ),
    "state after a merge": (
        lambda: lines().key_by(len).merge(lines()).count(),
        "pipeline 'lines', count(): count has state, and the pipelines that were merged are placed by key"
        " and by nothing",
        "put key_by(...) or collect() after merge(...)",
    ),
    "a branch merged with itself": (
        lambda: (lambda branches: branches[0].merge(branches[0]))(lines().branch(len)),
        "pipeline 'lines', merge('lines'): some messages are in both pipelines, and would come twice",
        "merge what comes of different sources or steps",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_explained(name):
    make, message, hint = CASES[name]
    with pytest.raises(WallarooParameterError) as caught:
        make()
    assert (caught.value.message, caught.value.hint) == (message, hint)


DEAD_LETTERS = {
    "a flat_map that returns text": (
        lambda: lines().flat_map(str.upper),
        ["a"],
        "flat_map or compute_multi returned str, which would be taken apart; return a list of outputs",
    ),
    "a flat_map that returns a number": (
        lambda: lines().flat_map(len),
        ["a"],
        "flat_map or compute_multi returned int; return a list or another iterable of outputs, or None",
    ),
    "a key that is no key": (
        lambda: lines().key_by(lambda line: 1.5).count(),
        ["a"],
        "1.5 is of type float; a key is str, bytes, int, bool, UUID, date, datetime, Enum, or a tuple of these",
    ),
    "a key that is a list": (
        lambda: lines().key_by(lambda line: [line]).count(),
        ["a"],
        "['a'] is of type list; a key is str, bytes, int, bool, UUID, date, datetime, Enum, or a tuple of these",
    ),
    "a key function that refuses the message": (
        lambda: values().key_by(operator.itemgetter(0)).count(),
        ["1"],
        "'int' object is not subscriptable",
    ),
    "a field that is not there": (
        lambda: values().key_by("user").count(),
        ["{'name': 'ada'}"],
        "the message has no field 'user'; its fields are: 'name'",
    ),
    "a branch that does not exist": (
        lambda: lines().split(parse, ["a", "b"])["a"],
        ["c"],
        "split: the function returned 'c', which is no branch: 'a', 'b'",
    ),
    "text to add up": (
        lambda: lines().sum(),
        ["1"],
        "sum adds numbers, and got str; convert it first, for example with sum(float)",
    ),
    "lists to deduplicate": (
        lambda: values().dedup(),
        ["[1]"],
        "dedup cannot tell values of type list apart, which have no hash; give by= a function that "
        "returns what identifies a message",
    ),
    "a mean of text": (
        lambda: lines().mean(str.upper),
        ["1"],
        "unsupported operand type(s) for /: 'str' and 'int'",
    ),
    "things that have no order": (
        lambda: values().collect().max(),
        ["1", "'a'"],
        "'<' not supported between instances of 'int' and 'str'",
    ),
    "a timer without on_timer": (
        lambda: lines().stateful(lambda line, total, ctx: ctx.set_timer(timedelta(1)), Total),
        ["a"],
        "set_timer: the step has no on_timer to call; give stateful(..., on_timer=f)",
    ),
    "a timer in seconds": (
        lambda: lines().stateful(lambda line, total, ctx: ctx.set_timer(30.0), Total, on_timer=lambda total, ctx: 1),
        ["a"],
        "set_timer: the time is of type float; give a datetime with a time zone, or a timedelta or nanoseconds after"
        " ctx.now",
    ),
    "a timer in a time zone that is not said": (
        lambda: lines().stateful(
            lambda line, total, ctx: ctx.set_timer(datetime(2030, 1, 1)), Total, on_timer=lambda total, ctx: 1
        ),
        ["a"],
        "set_timer: the datetime has no time zone; say which, as with .replace(tzinfo=datetime.timezone.utc), or add to"
        " ctx.now",
    ),
    "text to add up in windows": (
        lambda: lines().window(count_windows(1)).aggregate(wallaroo.sum()),
        ["1"],
        "sum adds numbers, and got str; convert it first, for example with sum(float)",
    ),
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", DEAD_LETTERS)
def test_a_mistake_that_shows_with_a_message_is_explained_in_its_dead_letter(name, batch):
    make, messages, expected = DEAD_LETTERS[name]
    _, failed = failures(make(), messages, batch=batch)
    assert failed[-1][2].startswith(expected)
