"""Decorated functions: still functions, and the exact words for those that cannot be steps."""

from __future__ import annotations

import functools
import inspect
import pickle

import pytest

import wallaroo
from wallaroo import WallarooParameterError


@wallaroo.computation(name="reverse")
def reverse(data: str) -> str:
    """Turn it round."""
    return data[::-1]


@wallaroo.decoder(header_length=2, length_fmt=">H")
def text(bs: bytes) -> str:
    return bs.decode()


class Total:
    count = 0


class NeedsArgument:
    def __init__(self, argument):
        pass


def one(data):
    return data


def two(data, state):
    return data, True


def none():
    return None


async def later(data):
    return data


def yields(data, state=None):
    yield data


CASES = {
    "a decorator that was not called": (
        lambda: wallaroo.computation(one),
        "@wallaroo.computation: the name of the step is missing above one\n"
        'hint: write @wallaroo.computation(name="...")',
    ),
    "a name that is empty": (
        lambda: wallaroo.state_computation(name="", state=Total),
        "@wallaroo.state_computation: name must be a non-empty str of printable characters, got ''\n"
        "hint: give it a name people know",
    ),
    "a state that cannot be changed": (
        lambda: wallaroo.state_computation(name="count", state=int)(two),
        "@wallaroo.state_computation: two: state is the class int, and a step cannot change such a state in place\n"
        "hint: give a class with an attribute for what changes, such as: class Total: count = 0",
    ),
    "too few parameters": (
        lambda: wallaroo.computation_multi("none")(none),
        "@wallaroo.computation_multi: none() cannot be called with 1 argument (data)\nhint: define it as none(data)",
    ),
    "too many parameters, with annotations": (
        lambda: wallaroo.computation_batch("n")(lambda batch, size: batch),
        "@wallaroo.computation_batch: <lambda>(batch, size) cannot be called with 1 argument (batch)\n"
        "hint: define it as <lambda>(batch)",
    ),
    "a state computation without state": (
        lambda: wallaroo.state_computation("one")(one),
        "@wallaroo.state_computation: one(data) cannot be called with 2 arguments (data, state)\n"
        "hint: define it as one(data, state)",
    ),
    "a key function of two": (
        lambda: wallaroo.key_extractor(two),
        "@wallaroo.key_extractor: two(data, state) cannot be called with 1 argument (data)\n"
        "hint: define it as two(data)",
    ),
    "a partition function of none": (
        lambda: wallaroo.partition(none),
        "@wallaroo.partition: none() cannot be called with 1 argument (data)\nhint: define it as none(data)",
    ),
    "an encoder of two": (
        lambda: wallaroo.encoder(two),
        "@wallaroo.encoder: two(data, state) cannot be called with 1 argument (data)\nhint: define it as two(data)",
    ),
    "a decoder of two": (
        lambda: wallaroo.decoder(delimiter=b"\n")(two),
        "@wallaroo.decoder: two(data, state) cannot be called with 1 argument (bs)\nhint: define it as two(bs)",
    ),
    "a class": (
        lambda: wallaroo.computation("total")(Total),
        "@wallaroo.computation: what it decorates is the class Total, not a function\n"
        "hint: put it above: def function(data)",
    ),
    "what is no function": (
        lambda: wallaroo.encoder("line"),
        "@wallaroo.encoder: what it decorates is of type str, not a function\nhint: put it above: def function(data)",
    ),
    "two decorators": (
        lambda: wallaroo.computation("again")(reverse),
        "@wallaroo.computation: reverse is decorated already\nhint: one decorator of wallaroo is enough",
    ),
    "an async function": (
        lambda: wallaroo.computation("later")(later),
        "@wallaroo.computation: later is async, and nothing would await it\nhint: define it as: def later(data)",
    ),
    "a generator with one output": (
        lambda: wallaroo.computation("yields")(yields),
        "@wallaroo.computation: yields yields, and its output would be the generator itself\n"
        "hint: return the output, or use @wallaroo.computation_multi",
    ),
    "a generator with state and one output": (
        lambda: wallaroo.state_computation("yields", state=Total)(yields),
        "@wallaroo.state_computation: yields yields, and its output would be the generator itself\n"
        "hint: return the output, or use @wallaroo.state_computation_multi",
    ),
    "a generator that should return a pair": (
        lambda: wallaroo.state_computation_multi("yields")(yields),
        "@wallaroo.state_computation_multi: yields yields, and has no result (output, state_changed)\n"
        "hint: return the pair, or use @wallaroo.state_computation_multi with state=, which may yield",
    ),
    "a state object": (
        lambda: wallaroo.state_computation("two", state=Total())(two),
        "@wallaroo.state_computation: two: state is of type Total, not a class\n"
        "hint: give the class of the state, not an object of it",
    ),
    "a state class that needs arguments": (
        lambda: wallaroo.state_computation_multi("two", state=NeedsArgument)(two),
        "@wallaroo.state_computation_multi: two: state: NeedsArgument(argument) cannot be called with no argument\n"
        "hint: define it as __init__(self) in class NeedsArgument",
    ),
    "a reserved name": (
        lambda: wallaroo.state_computation("generator:p", state=Total)(two),
        "@wallaroo.state_computation: name 'generator:p' begins with the reserved word 'generator:'\n"
        "hint: give the state another name",
    ),
    "a decoder without framing": (
        lambda: wallaroo.decoder(),
        "@wallaroo.decoder: how frames are cut is not said\n"
        'hint: write @wallaroo.decoder(header_length=4, length_fmt=">I"), or @wallaroo.decoder(delimiter=b"\\n")',
    ),
    "a decoder with both": (
        lambda: wallaroo.decoder(4, ">I", delimiter=b"\n"),
        "@wallaroo.decoder: got a delimiter and a header\nhint: give header_length and length_fmt, or delimiter",
    ),
    "a delimiter that is text": (
        lambda: wallaroo.decoder(delimiter="\n"),
        "@wallaroo.decoder: delimiter must be non-empty bytes, got '\\n'\n"
        'hint: for messages that are lines, delimiter=b"\\n"',
    ),
    "a header of no length": (
        lambda: wallaroo.decoder(0, ">I"),
        "@wallaroo.decoder: header_length must be an int above 0, got 0\n"
        "hint: give the number of bytes that come before each payload",
    ),
    "a format of another length": (
        lambda: wallaroo.decoder(header_length=4, length_fmt=">H"),
        "@wallaroo.decoder: length_fmt '>H' reads 2 bytes, header_length is 4\n"
        'hint: skip bytes with x, as in ">xxI" for the last four of six',
    ),
    "a format of two fields": (
        lambda: wallaroo.decoder(header_length=4, length_fmt=">HH"),
        "@wallaroo.decoder: length_fmt '>HH' does not read one integer\n"
        'hint: for a big-endian integer of four bytes, ">I"',
    ),
    "a format that is none": (
        lambda: wallaroo.decoder(header_length=4, length_fmt="four"),
        "@wallaroo.decoder: length_fmt 'four' is no format of struct: bad char in struct format\n"
        'hint: for a big-endian integer of four bytes, ">I"',
    ),
    "a plain function as an encoder": (
        lambda: wallaroo.StdoutSinkConfig(one),
        "StdoutSinkConfig encoder: one is a plain function\nhint: put @wallaroo.encoder above it, or give a class",
    ),
    "a decoder as an encoder": (
        lambda: wallaroo.StdoutSinkConfig(text),
        "StdoutSinkConfig encoder: text is decorated for another place, as LengthDecoder\n"
        "hint: decorate it with @wallaroo.encoder",
    ),
    "a computation as a decoder": (
        lambda: wallaroo.StdinSourceConfig(reverse),
        "StdinSourceConfig decoder: reverse is decorated for another place, as Computation\n"
        "hint: decorate it with @wallaroo.decoder",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_misuse(name):
    build, expected = CASES[name]
    with pytest.raises(WallarooParameterError) as caught:
        build()
    assert str(caught.value) == expected


def test_a_decorated_function_is_still_the_function():
    assert reverse("abc") == "cba"
    assert (reverse.__name__, reverse.__doc__, reverse.__module__) == ("reverse", "Turn it round.", __name__)
    assert str(inspect.signature(reverse)) == str(inspect.signature(reverse.function))
    assert repr(reverse) == "<Computation reverse>"
    assert pickle.loads(pickle.dumps(reverse)) is reverse


def test_a_decorator_between_may_give_further_arguments():
    def with_rate(function):
        @functools.wraps(function)
        def wrapper(data):
            return function(data, 2)

        return wrapper

    @wallaroo.computation(name="times")
    @with_rate
    def times(data, rate):
        return data * rate

    assert times(4) == 8

    def with_two_more(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args, 2, 3)

        return wrapper

    class Times:
        @with_two_more
        def compute(self, data, rate, factor):
            return data * rate * factor

    wallaroo.ApplicationBuilder("app").new_pipeline("p", wallaroo.StdinSourceConfig(text)).to(Times)


def test_what_is_called_need_not_be_a_function():
    counted = wallaroo.computation(name="count")(functools.partial(str.count, "banana"))
    assert counted("an") == 2
    keyed = wallaroo.key_extractor(functools.partial(str.count, "banana"))
    assert (keyed("a"), keyed.name, repr(keyed)) == (3, "partial", "<KeyExtractor partial>")


@pytest.mark.parametrize(
    ("made", "framing"),
    [
        (wallaroo.decoder(4, ">I"), ("length", 4, 4, 0, "big", False)),
        (wallaroo.decoder(header_length=6, length_fmt="<xxI"), ("length", 6, 4, 2, "little", False)),
        (wallaroo.decoder(header_length=8, length_fmt=">q"), ("length", 8, 8, 0, "big", True)),
        (wallaroo.decoder(delimiter=b"\r\n"), ("delimiter", b"\r\n")),
    ],
)
def test_the_framing_of_a_decorated_decoder(made, framing):
    config = wallaroo.StdinSourceConfig(made(one))
    described = dict(config.framing)
    assert described.pop("adjust", 0) == 0
    order = ("kind", "header", "width", "offset", "order", "signed", "delimiter")
    assert tuple(described[field] for field in order if field in described) == framing
    assert config.decode(b"frame") == b"frame"
