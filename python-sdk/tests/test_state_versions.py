"""``wallaroo.state(Class, version=, migrate=)``: states that older code saved are made new ones."""

from __future__ import annotations

import pytest

import wallaroo
import wallaroo.testing
from verbs import outputs, values
from wallaroo import WallarooParameterError
from wallaroo._steps.state_versions import VersionedState
from wallaroo.testing import InProcess
from wallaroo.worker._failures import RestoreError
from wallaroo.worker._state import StateTable, StateTables, state_of


class Total:
    """Of version 2. Version 1 had ``euros``, and version 0 never was."""

    def __init__(self):
        self.cents = 0


def in_cents(old):
    new = Total()
    new.cents = old.euros * 100
    return new


def old_total(euros):
    old = Total.__new__(Total)
    old.euros = euros
    return old


def saved(build, state):
    """Return a snapshot that a table of ``build`` makes of a state."""
    table = StateTable("totals", build)
    table.live["tea"] = state
    return table.pickled("tea")


def saved_in_columns(build, state):
    tables = StateTables()
    table = tables.table("totals", build)
    table.live["tea"] = state
    table.changed(["tea"], 1)
    found = tables.plain_snapshot(10, 1 << 20)
    assert found is not None
    return found[2][0]


def opened(build, snapshot):
    table = StateTable("totals", build)
    table.restore("tea", snapshot)
    return table.open("tea")


WAYS = [saved, saved_in_columns]
SECOND = wallaroo.state(Total, version=2, migrate=in_cents)


@pytest.mark.parametrize("save", WAYS)
def test_a_state_without_a_version_has_the_first(save):
    snapshot = save(Total, old_total(3))
    assert opened(SECOND, snapshot).cents == 300
    assert opened(Total, snapshot).euros == 3


@pytest.mark.parametrize("save", WAYS)
def test_a_state_of_the_present_version_is_loaded_as_it_is(save):
    def refuse(old):
        raise AssertionError("not called")

    kept = Total()
    kept.cents = 5
    assert opened(wallaroo.state(Total, version=2, migrate=refuse), save(SECOND, kept)).cents == 5


@pytest.mark.parametrize("save", WAYS)
def test_a_migration_is_told_the_version(save):
    told = []

    def migrate(old, version):
        told.append(version)
        return old

    newer = wallaroo.state(Total, version=70_000, migrate=migrate)
    opened(newer, save(Total, Total()))
    opened(newer, save(SECOND, Total()))
    opened(newer, save(newer, Total()))
    assert told == [1, 2]


@pytest.mark.parametrize("save", WAYS)
def test_a_state_of_newer_code_is_refused(save):
    newer = save(wallaroo.state(Total, version=3, migrate=in_cents), Total())
    for build, version in ((Total, 1), (SECOND, 2)):
        words = (
            f"state of key 'tea' in table totals has version 3, and the application knows versions up to {version}: "
            "run the newer code"
        )
        with pytest.raises(RestoreError) as raised:
            opened(build, newer)
        assert str(raised.value) == words
        assert StateTable("totals", build).try_out("tea", newer) == words


@pytest.mark.parametrize("save", WAYS)
def test_commands_show_the_version_that_was_saved(save):
    kept = Total()
    kept.cents = 5
    assert state_of(save(SECOND, kept)).cents == 5
    assert state_of(save(Total, old_total(3))).euros == 3


def test_a_snapshot_in_pieces():
    table = StateTable("totals", SECOND)
    kept = Total()
    kept.cents = 5
    snapshot = saved(SECOND, kept)
    table.restore("tea", snapshot[:3])
    table.restore_more("tea", snapshot[3:])
    assert table.open("tea").cents == 5


def fail(old):
    raise LookupError("no rate")


def forget(old):
    old.cents = 0


FAILING = {
    "raises": (fail, "LookupError: no rate"),
    "returns nothing": (forget, "TypeError: migrate returned None for a state of version 1; return the new state"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_migration_that_fails_keeps_the_old_state(name):
    migrate, reason = FAILING[name]
    table = StateTable("totals", wallaroo.state(Total, version=2, migrate=migrate))
    snapshot = saved(Total, old_total(3))
    words = f"state of key 'tea' in table totals could not be restored: {reason}"
    assert table.try_out("tea", snapshot) == words
    table.restore("tea", snapshot)
    for _ in range(2):
        with pytest.raises(RestoreError) as raised:
            table.open("tea")
        assert str(raised.value) == words
    assert "tea" not in table.live


def test_what_a_migration_gives_is_compared_with_a_new_state():
    snapshot = saved(Total, old_total(3))
    assert StateTable("totals", SECOND).try_out("tea", snapshot) is None
    forgetful = wallaroo.state(Total, version=2, migrate=lambda old: old)
    assert StateTable("totals", forgetful).try_out("tea", snapshot) == (
        f"state of key 'tea' in table totals has no attribute cents, which a new {__name__}.Total has: give the class a"
        " default, as cents = None, or define __setstate__ in it"
    )


def add(number, total):
    total.cents += number
    if number == 0:
        raise ValueError
    return total.cents


@pytest.mark.parametrize("atomic", [False, True])
def test_steps_take_it_as_they_take_the_class(atomic):
    p = values().key_by(lambda number: number % 2)
    for state in (Total, SECOND):
        assert outputs(p.stateful(add, state, atomic=atomic), [1, 2, 3], restarts=True) == ["1", "2", "4"]
        step = wallaroo.state_computation("add", state, atomic=atomic)(add)
        assert outputs(p.to(step), [1, 2, 3], restarts=True) == ["1", "2", "4"]
    failing = p.stateful(add, SECOND, atomic=atomic, on_error="skip")
    assert outputs(failing, [2, 0, 4], restarts=True) == ["2", "6"]
    (node,) = [node for node in to_nodes(failing) if node.kind == "state"]
    assert node.table_type == f"{__name__}.Total"


def to_nodes(pipeline):
    sink = wallaroo.StdoutSinkConfig(wallaroo.encoder(lambda data: str(data)))
    return wallaroo.application("app", pipeline.sink(sink)).nodes


def test_older_states_in_an_application():
    p = values().key_by(lambda number: number % 2).stateful(add, SECOND)
    sink = wallaroo.StdoutSinkConfig(wallaroo.encoder(lambda cents: f"{cents}\n"))
    app = InProcess(wallaroo.application("app", p.sink(sink)))
    app._tables.find("add").restore(1, saved(Total, old_total(3)))
    app.send(["1", "2", "3"])
    app.restart()
    app.send(["5"])
    assert app.outcome.lines == ["301", "2", "304", "309"]


def no_arguments():
    return None


async def later(old):
    return old


def make(**arguments):
    return lambda: wallaroo.state(Total, **{"version": 2, "migrate": in_cents, **arguments})


NO_VERSION = "the first states have version 1 and need no state(...); give 2 when they change, then 3 and so on"
MISTAKES = {
    "the first version": (
        make(version=1),
        "state(Total): version is 1, not a whole number from 2 to 2**32 - 1",
        NO_VERSION,
    ),
    "a version in words": (
        make(version="2"),
        "state(Total): version is of type str, not a whole number from 2 to 2**32 - 1",
        NO_VERSION,
    ),
    "a version too large": (
        make(version=2**32),
        "state(Total): version is 4294967296, not a whole number from 2 to 2**32 - 1",
        NO_VERSION,
    ),
    "no migration": (
        make(migrate=None),
        "state(Total): migrate is of type NoneType, not a function",
        "give a function that takes a state of an older version and returns a new one",
    ),
    "a migration of nothing": (
        make(migrate=no_arguments),
        "state(Total): migrate no_arguments() cannot be called with 1 argument (old)",
        "define it as migrate(old)",
    ),
    "an async migration": (
        make(migrate=later),
        "state(Total): migrate later is async, and nothing would await it",
        "define it as: def migrate(old, version)",
    ),
    "an object": (
        lambda: wallaroo.state(Total(), version=2, migrate=in_cents),
        "state(of type Total): the argument is of type Total, not a class",
        "give the class of the state, not an object of it",
    ),
    "a state with a version": (
        lambda: wallaroo.state(SECOND, version=3, migrate=in_cents),
        "state(Total): the argument has a version already",
        "give the class itself, and one version",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    build, problem, hint = MISTAKES[mistake]
    with pytest.raises(WallarooParameterError) as raised:
        build()
    assert (raised.value.message, raised.value.hint) == (problem, hint)


def test_it_is_named_as_its_class():
    assert isinstance(SECOND, VersionedState)
    assert (SECOND.__module__, SECOND.__qualname__) == (__name__, "Total")
