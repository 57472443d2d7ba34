"""``check_sink`` passes sinks that keep the contract, and says what is wrong with those that do not."""

import json
import os
import sqlite3
import sys
from functools import partial

import pytest

import wallaroo
from wallaroo.testing import check_sink as check_with_little_patience

check_sink = partial(check_with_little_patience, patience=60)
# PyPy has to look through all of its memory to find what the end of an object's process closes. Its connections to
# SQLite that are in a transaction stay open even then.
IS_SLOW = sys.implementation.name == "pypy"
quick = pytest.mark.skipif(IS_SLOW, reason="each death takes a while")

WORDS = [f"word {number}" for number in range(120)]


class Memory:
    """The target of sinks in memory: both are there at once."""

    def __init__(self):
        self.words, self.position = [], None


class InMemory(wallaroo.Sink):
    def __init__(self, memory):
        self.memory = memory

    def open(self):
        return self.memory.position

    def write(self, position, messages):
        self.memory.words, self.memory.position = [*self.memory.words, *messages], position


class InMemoryAsync(InMemory):
    async def open(self):
        return super().open()

    async def write(self, position, messages):
        super().write(position, messages)

    async def close(self):
        pass


class Lines(wallaroo.Sink):
    """Appends to a file, at least once."""

    def __init__(self, path):
        self.path = path

    def open(self):
        self.file = open(self.path, "a")  # noqa: SIM115

    def write(self, position, messages):
        for message in messages:
            self.file.write(f"{message}\n")
        self.file.flush()

    def close(self):
        self.file.close()


class Cut(wallaroo.Sink):
    """Appends to a file, and keeps its length with the position in another one: what is behind that is cut off."""

    def __init__(self, path):
        self.path, self.state = path, path.with_suffix(".state")

    def open(self):
        state = json.loads(self.state.read_text()) if self.state.exists() else {"length": 0, "position": None}
        self.file = open(self.path, "a")  # noqa: SIM115
        self.file.truncate(state["length"])
        return state["position"]

    def write(self, position, messages):
        self.file.writelines(f"{message}\n" for message in messages)
        self.file.flush()
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"length": os.fstat(self.file.fileno()).st_size, "position": position}))
        new.replace(self.state)

    def close(self):
        self.file.close()


class Rows(wallaroo.Sink):
    """Rows of a table, with the position in the same transaction."""

    def __init__(self, path):
        self.path = path

    def open(self):
        self.database = sqlite3.connect(self.path)
        with self.database:
            self.database.execute("create table if not exists words (word text)")
            self.database.execute("create table if not exists progress (id integer primary key, position text)")
        found = self.database.execute("select position from progress").fetchone()
        return found and found[0]

    def write(self, position, messages):
        for index, message in enumerate(messages):
            if "\0" in message:
                raise wallaroo.RejectedMessageError(index, "there is a NUL in it")
        with self.database:
            self.insert(messages)
            self.store(position)

    def insert(self, messages):
        self.database.executemany("insert into words values (?)", [(message,) for message in messages])

    def store(self, position):
        self.database.execute("insert or replace into progress values (0, ?)", (position,))

    def close(self):
        self.database.close()


def words_in(path):
    with sqlite3.connect(path) as database:
        rows = database.execute("select word from words order by rowid").fetchall()
    database.close()
    return [word for (word,) in rows]


def lines_in(path):
    return path.read_text().splitlines()


@pytest.mark.parametrize("kind", [InMemory, InMemoryAsync])
def test_a_sink_in_memory_passes(kind):
    memory = Memory()
    check_sink(lambda: kind(memory), WORDS, lambda: memory.words)
    assert memory.words == WORDS


@quick
@pytest.mark.parametrize("kind", [Lines, Cut])
def test_a_file_passes(kind, tmp_path):
    check_sink(lambda: kind(tmp_path / "words.txt"), WORDS, lambda: lines_in(tmp_path / "words.txt"))
    assert list(dict.fromkeys(lines_in(tmp_path / "words.txt"))) == WORDS


def check_table(kind, folder, messages=WORDS, **options):
    path = folder / "words.db"
    check_sink(lambda: kind(path), messages, lambda: words_in(path), **options)


def test_a_table_passes(tmp_path):
    check_table(Rows, tmp_path, rejected=["\0", "a\0b"])
    assert words_in(tmp_path / "words.db") == WORDS


class Upsert(Rows):
    """Keeps no position, and does no harm when it writes again."""

    def open(self):
        super().open()
        self.database.execute("create unique index if not exists one on words (word)")

    def insert(self, messages):
        self.database.executemany("insert or replace into words values (?)", [(message,) for message in messages])


@quick
def test_an_upsert_without_positions_passes(tmp_path):
    check_table(Upsert, tmp_path, rejected=["\0"])


class Set(InMemory):
    """A target without an order."""

    def write(self, position, messages):
        words = sorted({*self.memory.words, *messages}, key=hash)
        self.memory.words, self.memory.position = words, position


@quick
def test_a_target_without_an_order():
    memory = Memory()
    check_sink(lambda: Set(memory), WORDS, lambda: memory.words, ordered=False)
    memory = Memory()
    with pytest.raises(AssertionError, match="messages are in another order"):
        check_sink(lambda: Set(memory), WORDS, lambda: memory.words)


@quick
def test_a_target_that_another_stream_has_used():
    memory = Memory()
    memory.position = "other:17"
    check_sink(lambda: InMemory(memory), WORDS, lambda: memory.words)


class PositionFirst(Rows):
    """Stores the position, and then the rows."""

    def write(self, position, messages):
        with self.database:
            self.store(position)
        with self.database:
            self.insert(messages)


class PositionLast(Rows):
    """Stores the rows, and then the position."""

    def write(self, position, messages):
        with self.database:
            self.insert(messages)
        with self.database:
            self.store(position)


class OneByOne(Rows):
    """Has written some of what it rejects."""

    def write(self, position, messages):
        for index, message in enumerate(messages):
            if "\0" in message:
                raise wallaroo.RejectedMessageError(index, "there is a NUL in it")
            self.insert([message])
            self.database.commit()
        with self.database:
            self.store(position)


class NotRolledBack(Rows):
    """Leaves open the transaction in which it has written some of what it rejects."""

    def write(self, position, messages):
        for index, message in enumerate(messages):
            if "\0" in message:
                raise wallaroo.RejectedMessageError(index, "there is a NUL in it")
            self.insert([message])
        self.store(position)
        self.database.commit()


class OwnPosition(Rows):
    """Counts rows, and takes that for its position."""

    def open(self):
        super().open()
        return str(self.database.execute("select count(*) from words").fetchone()[0])


class PositionBefore(Rows):
    """Stores the position of the call before: that where these messages begin."""

    before = None

    def store(self, position):
        super().store(self.before or position)
        self.before = position


class NotCommitted(Rows):
    def write(self, position, messages):
        self.insert(messages)
        self.store(position)


class NotFlushed(Lines):
    def write(self, position, messages):
        self.file.writelines(f"{message}\n" for message in messages)


class Doubles(Rows):
    """Writes again what has failed, though it has not."""

    def insert(self, messages):
        super().insert(messages)
        if len(messages) > 1:
            super().insert(messages[-1:])


class Reversed(Rows):
    def insert(self, messages):
        super().insert(messages[::-1])


class Changes(Rows):
    def insert(self, messages):
        super().insert([message.upper() for message in messages])


class Forgets(Rows):
    """Has its position where the end of the process takes it."""

    def open(self):
        super().open()
        self.database.execute("attach ':memory:' as memory")
        self.database.execute("create table memory.progress (id integer primary key, position text)")
        found = self.database.execute("select position from main.progress").fetchone()
        self.database.execute("delete from main.progress")
        self.database.commit()
        return found and found[0]


class NoPosition(Rows):
    def open(self):
        super().open()
        return 5


class Raises(Rows):
    """Can be opened once."""

    def open(self):
        super().open()
        self.database.execute("create table others (word text)")


class Undoes(Lines):
    """Cuts its file when it is closed."""

    def close(self):
        self.file.truncate(0)
        super().close()


class RejectsAll(Rows):
    def write(self, position, messages):
        raise wallaroo.RejectedMessageError(0, "no")


class RejectsFirst(Rows):
    def write(self, position, messages):
        if any("\0" in message for message in messages):
            raise wallaroo.RejectedMessageError(0, "there is a NUL somewhere")
        super().write(position, messages)


class TakesAll(Rows):
    def write(self, position, messages):
        with self.database:
            self.insert(messages)
            self.store(position)


ONE_TRANSACTION = "store the position together with the messages, in one transaction"
FAULTS = {
    PositionFirst: ["messages are lost", "before line", "it was stored before they were"],
    PositionLast: ["behind the position which the sink has committed", "before line", ONE_TRANSACTION],
    OneByOne: ["behind the position which the sink has committed", ONE_TRANSACTION],
    OwnPosition: ["a position that write() was not given", "came: '1'", "a position that write() was given, such as"],
    PositionBefore: ["open() has returned an older position", "write() is given the position behind its messages"],
    NotCommitted: ["messages are lost", "messages count as written, for good, when write() returns"],
    Doubles: ["messages are doubled", "at most 1 time", "it is there 2 times"],
    Reversed: ["messages are in another order"],
    Changes: ["the target has what was not written", "'WORD 0'; for example, 'word 0' was written"],
    Forgets: ["open() has forgotten its position"],
    NoPosition: ["open() has returned what is no position", "5: open() returned of type int"],
    Raises: ["open() has raised OperationalError", "table others already exists"],
    RejectsAll: ["write() rejects a message", "RejectedMessageError(0, 'no')"],
    RejectsFirst: [
        "write() rejects another message",
        "RejectedMessageError(1, ...): 'a\\x00b' is message 1 of the list",
    ],
    TakesAll: ["write() does not reject a message", "write() returned"],
}


def says(caught, *texts):
    for text in texts:
        assert text in str(caught.value), f"{text!r} is not in\n{caught.value}"


@pytest.mark.parametrize("kind", [PositionFirst, PositionLast] if IS_SLOW else FAULTS)
def test_a_fault_is_found(kind, tmp_path):
    with pytest.raises(AssertionError) as caught:
        check_table(kind, tmp_path, rejected=["a\0b"])
    says(caught, *FAULTS[kind], "  done:\n", "\n  expected: ", "\n  came: ", "\n  to do: ")
    assert str(caught.value).startswith(f"check_sink: {kind.__name__}: ")


class SomeOfThem(InMemory):
    """At least once, and has written some of what it rejects."""

    def open(self):
        return None

    def write(self, position, messages):
        for index, message in enumerate(messages):
            if "\0" in message:
                raise wallaroo.RejectedMessageError(index, "there is a NUL in it")
            self.memory.words.append(message)


@quick
def test_a_call_that_is_rejected_is_written_in_part():
    memory = Memory()
    with pytest.raises(AssertionError, match=r"write.. has written messages of a call that it rejects") as caught:
        check_sink(lambda: SomeOfThem(memory), WORDS, lambda: memory.words, rejected=["\0"])
    says(caught, "roll back, or look at all of them first")


@quick
def test_a_call_that_is_rejected_is_not_rolled_back(tmp_path):
    with pytest.raises(AssertionError, match="messages are doubled") as caught:
        check_table(NotRolledBack, tmp_path, rejected=["\0"])
    says(caught, "roll back, or look at all of them first")


@quick
@pytest.mark.parametrize("kind", [NotFlushed, Undoes])
def test_a_file_that_loses(kind, tmp_path):
    with pytest.raises(AssertionError, match="messages are lost"):
        check_sink(lambda: kind(tmp_path / "words.txt"), WORDS, lambda: lines_in(tmp_path / "words.txt"))


def test_what_cannot_be_checked():
    memory = Memory()

    def check(make, messages):
        check_sink(make, messages, lambda: memory.words)

    with pytest.raises(ValueError, match="there are 3 messages: give at least 50"):
        check(lambda: InMemory(memory), WORDS[:3])
    with pytest.raises(ValueError, match="messages 0 and 120 are both 'word 0'"):
        check(lambda: InMemory(memory), [*WORDS, WORDS[0]])
    with pytest.raises(TypeError, match="it returns a new wallaroo"):
        check(lambda: memory, WORDS)
    memory.words = ["a"]
    with pytest.raises(ValueError, match=r"the target is not empty: read_back.. returned \['a'\]"):
        check(lambda: InMemory(memory), WORDS)
