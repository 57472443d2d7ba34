"""States as ``wallaroo-orch state get`` and ``export`` print them."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from typing import Any

import msgpack
import pytest

from wallaroo._codec.plain import PlainObjects
from wallaroo.worker import _stored_states

START = "from wallaroo.worker._stored_states import main; main()"


class Total:
    def __init__(self, count: Any) -> None:
        self.count = count


@dataclasses.dataclass
class Range:
    low: int
    high: float


CASES: list[tuple[Any, str, Any]] = [
    ({"a": [1, None, True]}, "{'a': [1, None, True]}", {"a": [1, None, True]}),
    ({1: 2}, "{1: 2}", {"repr": "{1: 2}"}),
    ({1}, "{1}", {"repr": "{1}"}),
    (b"x", "b'x'", {"repr": "b'x'"}),
    (float("inf"), "inf", {"repr": "inf"}),
    ("\ud800", "'\\ud800'", {"repr": "'\\ud800'"}),
    (Total((1, 2)), "Total(count=(1, 2))", {"count": [1, 2]}),
    (Total({1}), "Total(count={1})", {"repr": "Total(count={1})"}),
    (Range(1, 2.5), "Range(low=1, high=2.5)", {"low": 1, "high": 2.5}),
]


@pytest.mark.parametrize(("value", "shown", "form"), CASES)
def test_forms(value: Any, shown: str, form: Any) -> None:
    assert _stored_states._as_repr("totals", "k", value) == shown
    line = json.loads(_stored_states._as_json("totals", ("a", 1), value))
    assert line == {"table": "totals", "key": ["a", 1], "state": form}


def printed(form: str, states: list[tuple[Any, bytes]], *words: str) -> tuple[int, list[str], str]:
    given = b"".join(msgpack.packb(("totals", msgpack.packb(key), state)) for key, state in states)
    command = [sys.executable, "-c", START, form, *words]
    ended = subprocess.run(command, input=given, capture_output=True, check=False)
    return ended.returncode, ended.stdout.decode().splitlines(), ended.stderr.decode()


def test_snapshots_of_both_forms_are_printed() -> None:
    (plain,) = PlainObjects().encode([[Total(3)]]) or []
    states = [("one", pickle.dumps([1])), (7, plain), ("two", pickle.dumps("é"))]
    code, lines, errors = printed("repr", states, __file__)
    assert (code, lines) == (0, ["[1]", "Total(count=3)", "'é'"]), errors
    code, lines, errors = printed("json", states, __file__)
    assert code == 0, errors
    assert [json.loads(line)["key"] for line in lines] == ["one", 7, "two"]


def test_a_state_that_cannot_be_loaded_is_named_and_the_others_are_printed() -> None:
    states = [("bad", b"\x80"), ("good", pickle.dumps(1))]
    code, lines, errors = printed("repr", states)
    assert (code, lines) == (10, ["1"])
    assert "totals: state of key 'bad' cannot be loaded: " in errors


def test_an_application_that_cannot_be_imported_says_why() -> None:
    code, lines, errors = printed("repr", [], "no_such_module")
    assert (code, lines) == (11, [])
    assert "no_such_module" in errors
