"""What is said of a message that fails, whatever its exception is, and what saying it costs."""

from __future__ import annotations

import linecache
import re
import sys

import pytest

import wallaroo
from stages import Runner, build
from wallaroo._codec.protocol import CAREFUL


def unsound_exceptions():
    """Make exceptions whose own methods raise, by name, with what is said of them."""

    class StrItselfError(Exception):
        def __str__(self):
            raise self

    class UnsoundText(str):
        __slots__ = ()

        def __len__(self):
            raise SystemExit

        encode = __getitem__ = __len__

    class StrUnsoundError(Exception):
        def __str__(self):
            return UnsoundText("unsound")

    class ClassUnsoundError(Exception):
        @property
        def __class__(self):
            raise SystemExit

    class AttributesUnsoundError(Exception):
        def __getattribute__(self, name):
            raise SystemExit

    class Secretive(type):
        def __getattribute__(cls, name):
            raise SystemExit

    class TypeUnsoundError(Exception, metaclass=Secretive):
        pass

    class RenamedError(Exception):
        pass

    class NotesUnsoundError(Exception):
        __notes__ = property(lambda self: 1 / 0)

    RenamedError.__qualname__ = "Re\ud800"
    RenamedError.__module__ = 5
    return {
        "str": (StrItselfError, "<its __str__ raised"),
        "text": (StrUnsoundError, "unsound"),
        "class": (ClassUnsoundError, ""),
        "attributes": (AttributesUnsoundError, ""),
        "type": (TypeUnsoundError, ""),
        "name": (RenamedError, ""),
        "notes": (NotesUnsoundError, ""),
    }


def runner(compute):
    step = wallaroo.computation(name="step")(compute)
    return Runner(build(lambda ab: ab.to(step)), ("frames", 0, [2]))


@pytest.mark.parametrize("flags", [0, CAREFUL])
@pytest.mark.parametrize("name", unsound_exceptions())
def test_an_exception_that_breaks_its_own_description_is_a_failure_like_any(name, flags):
    unsound, said = unsound_exceptions()[name]

    def compute(data):
        raise unsound from LookupError("the cause")

    outcome = runner(compute).run(0, [b"x", b"y"], flags=flags)
    assert len(outcome.failures) == 2
    for failure in outcome.failures:
        assert failure.message.startswith(said)
        assert "raise unsound from" in failure.traceback
        if failure.exception != "SystemExit":  # PyPy asks an exception for its attributes as it is raised.
            assert "LookupError: the cause\n" in failure.traceback


def test_the_traceback_of_a_recursion_leaves_out_its_middle():
    def endless(data):
        return endless(data)

    (failure,) = runner(endless).run(0, [b"x"]).failures
    lines = failure.traceback.splitlines()
    assert len(lines) < 100
    assert any(re.fullmatch(r"  \[\d+ frames left out\]", line) for line in lines)
    assert lines[-1].startswith("RecursionError: maximum recursion depth exceeded")


def test_source_lines_are_read_once_for_all_failures(monkeypatch):
    asked = []
    monkeypatch.setattr(linecache, "getline", lambda *line: asked.append(line) or "the line")

    def fail(data):
        raise ValueError(data)

    outcome = runner(fail).run(0, [b"x"] * 1_000)
    assert len(outcome.failures) == 1_000
    assert len(asked) == 1
    assert all(failure.traceback.endswith("    the line\nValueError: x\n") for failure in outcome.failures)


def test_a_traceback_shows_contexts_notes_and_groups():
    def fail(data):
        try:
            raise KeyError("the context")
        except KeyError:
            error = ValueError("the error")
            error.__notes__ = ["a note"]
            if sys.version_info >= (3, 11):
                error = ExceptionGroup("several", [error])  # noqa: F821 - mypy's and ruff's floor is Python 3.9
            raise error  # noqa: B904 - the context is what is tested

    (failure,) = runner(fail).run(0, [b"x"]).failures
    text = failure.traceback
    assert text.index("KeyError: 'the context'") < text.index("During handling") < text.index("ValueError: the error")
    assert "a note\n" in text
    assert ("ExceptionGroup: several" in text) == (sys.version_info >= (3, 11))


def long_chain(name, length):
    first = last = ValueError("the error")
    for number in range(length):
        following = ValueError(str(number))
        setattr(last, name, following)
        last = following
    return first


def cycle(name):
    first, second = ValueError("the error"), ValueError("the other")
    setattr(first, name, second)
    setattr(second, name, first)
    return first


def with_notes(notes):
    error = ValueError("the error")
    error.__notes__ = notes
    return error


def nested_groups(depth, members=1):
    error = ValueError("the error")
    for _ in range(depth):
        error = ExceptionGroup("the error", [error] + [ValueError("another") for _ in range(members - 1)])  # noqa: F821
    return error


EXTREMES = {
    "causes": lambda: long_chain("__cause__", 10_000),
    "contexts": lambda: long_chain("__context__", 10_000),
    "a circle of causes": lambda: cycle("__cause__"),
    "a circle of contexts": lambda: cycle("__context__"),
    "a message of 10 MB": lambda: ValueError("the error" + "x" * 10_000_000),
    "notes": lambda: with_notes(["a note" * 1_000] * 100_000),
    "notes that are no list": lambda: with_notes(3),
    "a syntax error of what no code is": lambda: SyntaxError("the error", (object(), object(), object(), object())),
    "a syntax error of a long line": lambda: SyntaxError("the error", ("file", 1, 1, "x" * 10_000_000)),
    "a module that is no str": lambda: type("Odd", (Exception,), {"__module__": 3})("the error"),
    **{
        f"groups: {depth} deep, {members} wide": lambda depth=depth, members=members: nested_groups(depth, members)
        for depth, members in ([(1, 10_000), (500, 1), (50_000, 1), (300, 300)] if sys.version_info >= (3, 11) else ())
    },
}


@pytest.mark.parametrize("extreme", EXTREMES)
def test_what_is_said_of_an_extreme_exception_is_short_and_tells_where_it_happened(extreme):
    def compute(data):
        raise EXTREMES[extreme]()

    (failure,) = runner(compute).run(0, [b"x"]).failures
    assert failure.message.startswith("the error")
    assert extreme == "notes" or "raise EXTREMES[extreme]()" in failure.traceback
    assert extreme == "notes" or "the error" in failure.traceback
    assert len(failure.traceback) <= 20_000
    assert len(failure.message) <= 10_000


def test_members_of_a_group_that_are_left_out_are_counted():
    if sys.version_info < (3, 11):
        pytest.skip("no groups of exceptions before Python 3.11")

    def compute(data):
        raise ExceptionGroup("several", [ValueError(str(number)) for number in range(12)])  # noqa: F821

    (failure,) = runner(compute).run(0, [b"x"]).failures
    assert failure.traceback.endswith("  | ValueError: 9\n  +---- [2 exceptions left out]\n")


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, MemoryError])
@pytest.mark.parametrize("flags", [0, CAREFUL])
def test_an_exception_that_ends_programs_ends_one_message(kind, flags):
    def compute(data):
        if data in (b"x", "x"):
            raise kind
        return data

    outcome = runner(compute).run(0, [b"x", b"y"], flags=flags)
    assert [failure.exception for failure in outcome.failures] == [kind.__name__]
