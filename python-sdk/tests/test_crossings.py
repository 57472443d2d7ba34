"""What a step is given equals what the step before returned, in value and in type: wherever it crosses."""

from __future__ import annotations

import decimal
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crossing_values
import wallaroo
from crossing_values import VALUES, Plain, Point, Slots, Stack, Table, Text, Typed, same
from stages import Lines
from wallaroo._codec.values import ValueCodec
from wallaroo.testing import InProcess
from wallaroo.worker._state import StateTable

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
    | st.datetimes() | st.dates() | st.times() | st.timedeltas() | st.decimals() | st.fractions() | st.uuids()
    | st.sampled_from([*crossing_values.Color, *crossing_values.Level]) | st.text().map(Text)
    | st.text(st.characters(categories=["Cs", "Ll"]))
)  # fmt: skip


def equals_itself(value):
    return not isinstance(value, decimal.Decimal) and value == value


hashable = st.recursive(scalars.filter(equals_itself), lambda inner: st.tuples(inner, inner), max_leaves=4)


def containers(inner):
    return (
        st.lists(inner) | st.lists(inner).map(tuple) | st.lists(inner).map(Stack) | st.dictionaries(hashable, inner)
        | st.dictionaries(hashable, inner).map(Table) | st.sets(hashable) | st.frozensets(hashable)
        | st.builds(Point, inner, inner) | st.builds(Slots, inner, inner) | st.builds(Typed, inner, inner)
        | st.dictionaries(st.text(), inner).map(lambda attributes: Plain(**attributes))
    )  # fmt: skip


values = st.recursive(scalars, containers, max_leaves=12)


class Crossing:
    """An application whose messages are positions in ``sent``; ``arrived`` is what comes behind a key and a state."""

    def __init__(self, batch):
        self.sent, self.arrived = [], []

        @wallaroo.computation(name="send")
        def send(position):
            return [self.sent[int(position)]]

        @wallaroo.key_extractor
        def key(value):
            return 0

        @wallaroo.state_computation(name="keep", state=list)
        def keep(value, state):
            state[:] = [value]
            return state[0]

        @wallaroo.computation(name="arrive")
        def arrive(value):
            self.arrived.append(value)

        source = wallaroo.source("positions", wallaroo.StdinSourceConfig(Lines))
        p = source.to(send).key_by(key).to(keep).collect().to(arrive).to_sink(wallaroo.StdoutSinkConfig(Lines))
        self.run = InProcess(wallaroo.build_application("crossing", p), batch=batch)

    def __call__(self, sent):
        self.sent, self.arrived = sent, []
        self.run.send([str(position) for position in range(len(sent))])
        assert self.run.outcome.dead_letters == []
        return [value for (value,) in self.arrived]


CROSSINGS = {batch: Crossing(batch) for batch in (1, 3, 100)}


@pytest.mark.parametrize("batch", CROSSINGS)
def test_every_kind_of_value(batch):
    for sent, arrived in zip(VALUES, CROSSINGS[batch](VALUES)):
        assert same(arrived, sent), f"{sent!r:.200} arrived as {arrived!r:.200}"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_beside_values_of_other_kinds(value):
    for neighbours in (["text"], [1, None], [Point(1.0)], [value]):
        sent = [*neighbours, value, *neighbours]
        assert same(CROSSINGS[100](sent), sent)


@given(st.lists(values, max_size=5), st.sampled_from(list(CROSSINGS)))
def test_any_values(sent, batch):
    assert same(CROSSINGS[batch](sent), sent)


@given(values)
def test_state(state):
    before, after = StateTable("table", lambda: None), StateTable("table", lambda: None)
    before.live["key"] = state
    after.restore("key", before.pickled("key"))
    assert same(after.open("key"), state)


def test_parts_that_are_one_object_still_are():
    shared = Point(1.0)
    cyclic = [shared, shared]
    cyclic.append(cyclic)
    (arrived,) = CROSSINGS[100]([cyclic])
    assert arrived[0] is arrived[1]
    assert arrived[2] is arrived


def test_same_tells_what_is_not_the_same():
    different = [
        0,
        0.0,
        -0.0,
        False,
        "",
        b"",
        None,
        math.nan,
        (),
        [],
        Text(""),
        Plain(),
        Plain(a=1),
        {1: 2, 3: 4},
        {3: 4, 1: 2},
    ]
    for index, one in enumerate(different):
        assert [position for position, other in enumerate(different) if same(one, other)] == [index]


def interpreters():
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {f"3.{minor}": next(versions.glob(f"3.{minor}.*/bin/python"), None) for minor in range(9, 15)}
    names = {name: path or shutil.which(f"python{name}") for name, path in found.items()}
    return {name: path for name, path in {**names, "pypy": shutil.which("pypy3")}.items() if path and runs(path)}


def runs(path):
    """Whether it is there: a pyenv shim is for every version, and fails for those not chosen."""
    asked = "import sys; sys.exit(sys.version_info < (3, 9))"
    return subprocess.run([path, "-c", asked], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", INTERPRETERS := interpreters())
def test_another_interpreter(name, tmp_path):
    # Its extension is for this interpreter; others take the part of it that is Python.
    shutil.copytree(Path(msgpack.__file__).parent, tmp_path / "msgpack", ignore=shutil.ignore_patterns("*.so"))
    source = Path(wallaroo.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (source, Path(__file__).parent, tmp_path)))}

    def run(python, what, given=b""):
        command = [str(python), crossing_values.__file__, what]
        ran = subprocess.run(command, input=given, env=environment, capture_output=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, b"")
        return ran.stdout

    theirs, ours = INTERPRETERS[name], sys.executable
    assert run(theirs, "decode", run(ours, "encode")).decode() == ""
    assert run(ours, "decode", run(theirs, "encode")).decode() == ""


def test_values_of_an_application_with_its_own_codec():
    codec = ValueCodec(lambda value: repr(value).encode(), lambda data: eval(data))
    for given_values in (["text", 1], [(1, "a"), None], [{"a": [1.5]}]):
        assert same(codec.decode(*codec.encode(given_values), len(given_values)), given_values)
