"""``check_source`` passes sources that keep the contract, and says what is wrong with those that do not."""

import queue
import re
import sqlite3
import time

import pytest

import wallaroo
from wallaroo.testing import check_source

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Letters(wallaroo.Source):
    """Reads a text, letter by letter. Its faults are in classes below."""

    def open(self, partition, position):
        self.next = 0 if position is None else position + 1

    def read(self, limit, timeout):
        letters = LETTERS[self.next : self.next + limit]
        pairs = [(letter, number) for number, letter in enumerate(letters, self.next)]
        self.next += len(pairs)
        return pairs or None


class AsyncLetters(Letters):
    async def partitions(self):
        return ["0"]

    async def open(self, partition, position):
        super().open(partition, position)

    async def read(self, limit, timeout):
        return super().read(limit, timeout)

    async def acknowledge(self, position):
        pass

    async def close(self):
        pass


class Broker:
    """A queue outside of the process: what was not acknowledged is given again. Nothing in it is ever empty."""

    def __init__(self, count):
        self.messages = {number: f"message {number}" for number in range(count)}

    def behind(self, number, count):
        return [(self.messages[each], each) for each in sorted(self.messages) if each > number][:count]

    def forget(self, number):
        self.messages = {each: message for each, message in self.messages.items() if each > number}


class Queue(wallaroo.Source):
    def __init__(self, broker):
        self.broker = broker

    def open(self, partition, position):
        self.last = -1 if position is None else position

    def read(self, limit, timeout):
        pairs = self.broker.behind(self.last, limit)
        if pairs:
            self.last = pairs[-1][1]
        else:
            time.sleep(timeout)
        return pairs

    def acknowledge(self, position):
        self.broker.forget(position)


class Lines(wallaroo.Source):
    """The lines of a file, as bytes, with where they end. The partitions are the names of files in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def partitions(self):
        return sorted(file.name for file in self.folder.iterdir())

    def open(self, partition, position):
        self.file = (self.folder / partition).open("rb")
        if position is not None:
            self.file.seek(position[1])

    def read(self, limit, timeout):
        pairs = []
        while len(pairs) < limit and (line := self.file.readline()):
            pairs.append((line, ("end", self.file.tell())))
        return pairs or None

    def close(self):
        self.file.close()


class Rows(wallaroo.Source):
    def __init__(self, path):
        self.path = path

    def open(self, partition, position):
        self.database = sqlite3.connect(self.path)
        self.last = position or 0

    def read(self, limit, timeout):
        asked = "select id, name from people where id > ? order by id limit ?"
        rows = self.database.execute(asked, (self.last, limit)).fetchall()
        if rows:
            self.last = rows[-1][0]
        else:
            time.sleep(timeout)
        return [(row, row[0]) for row in rows]

    def close(self):
        self.database.close()


def database(path, count=40):
    with sqlite3.connect(path) as connection:
        connection.execute("create table people (id integer primary key, name text)")
        connection.executemany("insert into people (name) values (?)", [(f"person {n}",) for n in range(count)])
    connection.close()
    return path


@pytest.mark.parametrize("kind", [Letters, AsyncLetters])
def test_a_source_in_memory_passes(kind):
    check_source(kind)
    check_source(kind, LETTERS)


def test_a_queue_passes():
    broker = Broker(30)
    check_source(lambda: Queue(broker), list(broker.messages.values()), acknowledged=lambda: len(broker.messages))
    assert not broker.messages


def test_files_pass(tmp_path):
    for name in ("one", "two", "none"):
        (tmp_path / name).write_text("" if name == "none" else "".join(f"{name} {n}\n" for n in range(25)))
    wanted = {file.name: file.read_bytes().splitlines(keepends=True) for file in tmp_path.iterdir()}
    check_source(lambda: Lines(tmp_path), wanted)


def test_rows_pass(tmp_path):
    path = database(tmp_path / "people.db")
    check_source(lambda: Rows(path), [(number + 1, f"person {number}") for number in range(40)])


class Endless(Letters):
    def read(self, limit, timeout):
        numbers = range(self.next, self.next + limit)
        self.next = numbers.stop
        return [(number, number) for number in numbers]


def test_a_source_without_an_end_is_read_in_part():
    check_source(Endless, most=200)


class Deletes(Queue):
    """Acknowledges when it reads."""

    def read(self, limit, timeout):
        pairs = super().read(limit, timeout)
        if pairs:
            self.broker.forget(pairs[-1][1])
        return pairs


class DeletesOnClose(Queue):
    def close(self):
        self.broker.forget(self.last)


class DeletesOnOpen(Queue):
    """Takes what was received for what is durable."""

    def open(self, partition, position):
        super().open(partition, position)
        self.broker.forget(self.last)


class DeletesInAdvance(Queue):
    """Acknowledges everything it has read, also what is behind the position."""

    def acknowledge(self, position):
        self.broker.forget(self.last)


class Again(Letters):
    def open(self, partition, position):
        self.next = 0 if position is None else position


class Skips(Letters):
    def open(self, partition, position):
        self.next = 0 if position is None else position + 2


class Fetches(Letters):
    """Goes on behind what it has fetched, wherever the message is: what was fetched and not given is lost."""

    fetched = 0

    def open(self, partition, position):
        self.next = 0 if position is None else -(-(position + 1) // 4) * 4


class Shares(Letters):
    """Keeps in one object what copies must not share."""

    def __init__(self):
        self.places = []

    def partitions(self):
        return ["0", "1"]

    def open(self, partition, position):
        self.places[:] = [0 if position is None else position + 1]

    def read(self, limit, timeout):
        self.next = self.places[0]
        pairs = super().read(limit, timeout)
        self.places[0] = self.next
        return pairs


class TooMany(Letters):
    def read(self, limit, timeout):
        return super().read(limit + 1, timeout)


class AList(Letters):
    def open(self, partition, position):
        self.next = 0 if position is None else position[0] + 1

    def read(self, limit, timeout):
        pairs = super().read(limit, timeout)
        return pairs and [(letter, [number]) for letter, number in pairs]


class OtherOrder(Letters):
    """Another order each time, as a set has it, or a database without ORDER BY."""

    opened = 0

    def open(self, partition, position):
        super().open(partition, position)
        OtherOrder.opened += 1
        self.shift = OtherOrder.opened

    def read(self, limit, timeout):
        places = range(self.next, min(self.next + limit, len(LETTERS)))
        self.next = places.stop
        return [(LETTERS[(place + self.shift) % len(LETTERS)], place) for place in places] or None


class Blocks(wallaroo.Source):
    """Waits for the next message, however long that takes."""

    def open(self, partition, position):
        self.messages = queue.Queue()
        for number in range(0 if position is None else position + 1, 10):
            self.messages.put(number)

    def read(self, limit, timeout):
        number = self.messages.get()
        return [(number, number)]


class Hurries(Letters):
    def read(self, limit, timeout):
        return super().read(limit, timeout) or []


class GoesOn(Letters):
    """Ends, and goes on."""

    def read(self, limit, timeout):
        pairs = super().read(limit, timeout)
        if pairs is None:
            self.next = 0
        return pairs


class EndsEarly(Letters):
    """Ends where it was opened, if that is behind half of it."""

    def open(self, partition, position):
        super().open(partition, position)
        self.is_late = self.next > 13

    def read(self, limit, timeout):
        return None if self.is_late else super().read(limit, timeout)


class SamePosition(Letters):
    """Has a position of each pair of letters."""

    def read(self, limit, timeout):
        pairs = super().read(limit, timeout)
        return pairs and [(letter, number // 2) for letter, number in pairs]


class NoPairs(Letters):
    def read(self, limit, timeout):
        pairs = super().read(limit, timeout)
        return pairs and [letter for letter, _ in pairs]


class Unpicklable(Letters):
    def read(self, limit, timeout):
        pairs = super().read(limit, timeout)
        return pairs and [(lambda: None, number) for _, number in pairs]


class Raises(Letters):
    """Knows only positions that it has given itself."""

    def open(self, partition, position):
        super().open(partition, position)
        self.given = set()

    def read(self, limit, timeout):
        pairs = super().read(limit, timeout)
        self.given.update(number for _, number in pairs or ())
        return pairs

    def acknowledge(self, position):
        self.given.remove(position)


class ClosesItsCopies(Letters):
    """Closes what its copies read from."""

    def __init__(self):
        self.connection = ["open"]

    def partitions(self):
        return ["0", "1"]

    def read(self, limit, timeout):
        return super().read(limit, timeout) if self.connection else []

    def close(self):
        self.connection.clear()


@pytest.mark.parametrize("how", [Deletes, DeletesOnClose, DeletesOnOpen])
def test_a_queue_that_acknowledges_early(how):
    broker = Broker(30)
    with pytest.raises(AssertionError, match="messages are lost") as caught:
        check_source(lambda: how(broker), patience=1)
    says(caught, "let go of messages in acknowledge(), and nowhere else")


@pytest.mark.parametrize("how", [Deletes, DeletesOnClose, DeletesOnOpen])
def test_so_says_the_queue_itself(how):
    broker = Broker(30)
    with pytest.raises(AssertionError) as caught:
        check_source(lambda: how(broker), acknowledged=lambda: len(broker.messages), patience=1)
    says(caught, "acknowledges too early" if how is not DeletesOnClose else "messages are lost")


def test_an_acknowledgement_that_goes_too_far():
    broker = Broker(30)
    with pytest.raises(AssertionError, match="messages are lost") as caught:
        check_source(lambda: DeletesInAdvance(broker), patience=1)
    says(caught, "acknowledge(position) may let go of messages up to that position, and of none behind it")


FAULTS = {
    Again: ["messages are doubled", "opened at 0, the position of message 0", "came: message 0 again, 'a'"],
    Skips: ["messages are lost", "expected: message 1, 'b'", "came: message 2, 'c'", "left out otherwise"],
    Fetches: ["messages are lost", "expected: message 1, 'b'", "came: message 4, 'e'"],
    Shares: ["when partitions are read side by side", "make in open() what belongs to one partition"],
    TooMany: ["more messages than its limit", "at most 1"],
    AList: ["a position cannot be kept", "the position [0] is of type list", "tuple(position)"],
    OtherOrder: ["messages come in another order", "for example with ORDER BY"],
    Blocks: ["read() does not return", "returns within"],
    Hurries: ["read() does not wait for messages", "time.sleep(timeout)"],
    GoesOn: ["read() has returned None, and then goes on", "messages: ('a', 0), ('b', 1)"],
    EndsEarly: ["messages are lost", "came: nothing more"],
    SamePosition: ["two messages have the same position", "messages 0 and 1 both have 0"],
    NoPairs: ["no list of messages with their positions", "return [(message, position), ...]"],
    Unpicklable: ["a message cannot be pickled"],
    Raises: ["acknowledge() has raised KeyError"],
    ClosesItsCopies: ["messages are lost when partitions are read side by side"],
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found(kind):
    with pytest.raises(AssertionError) as caught:
        check_source(kind, patience=1)
    says(caught, *FAULTS[kind], "  done:\n", "\n  expected: ", "\n  came: ", "\n  to do: ")
    assert str(caught.value).startswith(f"check_source: {kind.__name__}: ")


def test_what_is_expected():
    with pytest.raises(AssertionError, match="messages are lost") as caught:
        check_source(Letters, LETTERS.replace("c", "cc"))
    says(caught, "expected: message 3, 'c'", "came: message 4, 'd'", "see whether `expected` is right")
    with pytest.raises(AssertionError, match="other messages come"):
        check_source(Letters, "abc")
    with pytest.raises(AssertionError, match=re.escape("messages of ['1'] are expected, and partitions() are ['0']")):
        check_source(AsyncLetters, {"1": LETTERS})
    with pytest.raises(TypeError, match=re.escape("give expected={name: messages}")):
        check_source(Shares, LETTERS)


def test_what_makes_no_source():
    letters = Letters()
    with pytest.raises(TypeError, match=r"make is <.*Letters object.*>; give a function that makes a new Source"):
        check_source(letters)
    with pytest.raises(TypeError, match="the same object twice"):
        check_source(lambda: letters)
    with pytest.raises(TypeError, match=re.escape("make() returned 'abc'; it returns a new wallaroo.Source")):
        check_source(lambda: "abc")


class OneName(Letters):
    def partitions(self):
        return "letters"


def test_names_of_partitions():
    with pytest.raises(AssertionError, match="which is one name: it returns a list of names"):
        check_source(OneName)


def says(caught, *texts):
    for text in texts:
        assert text in str(caught.value), f"{text!r} is not in\n{caught.value}"
