"""Streams of ``tests/apps/durable.py`` that are compared with a model: what was lost, doubled or out of order.

Each writes its input to a folder, and knows the arguments of the application and the output that is expected.
"""

import contextlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from tests.harness import carts, windows
from tests.harness.orchestrator import message_of
from tests.harness.places import APPS
from tests.harness.word_counts import text_lines

APP = APPS / "durable.py"


class Faults(NamedTuple):
    """Output messages that differ from the model's."""

    lost: int = 0
    doubled: int = 0
    disordered: int = 0

    def __add__(self, other):
        return Faults(*map(sum, zip(self, other)))


class Stream:
    """A stream in a folder: its files, and what is expected of them."""

    kind = ""
    source = ""
    #: Times that a message goes through the step that notes it, if nothing dies.
    messages = 0
    #: Bytes of the whole output.
    bytes = 0

    def __init__(self, folder: Path):
        self.folder = folder
        self.source = folder / "in.txt"
        self.sink = folder / "out.txt"
        self.letters = folder / "letters.jsonl"
        self.state = folder / "state"
        self._ran = folder / "ran"

    def application(self, pace: float = 0.0) -> list:
        """The application and its arguments, when it takes ``pace`` seconds more for each message."""
        return [APP, self.kind, self.source, self.sink, "--ran", self._ran, "--pace", pace]

    @property
    def options(self) -> list:
        return ["--state", self.state, "--dead-letters", self.letters]

    def again(self) -> int:
        """Times that a message went through the step that notes it, but for the first. To be asked at the end."""
        return self._ran.stat().st_size - self.messages

    def size(self) -> int:
        """Bytes of the output so far."""
        return self.sink.stat().st_size if self.sink.exists() else 0

    def faults(self) -> Faults:
        """Compares the output and the dead letters with the model."""
        raise NotImplementedError


class Words(Stream):
    """The words of a text are numbered, each word for itself."""

    kind = "words"

    def __init__(self, folder, size):
        super().__init__(folder)
        # A line has eight words.
        text = text_lines(size // 8)
        self.source.write_text("".join(f"{line}\n" for line in text))
        self._counts = Counter(word for line in text for word in line.lower().split())
        self.messages = sum(self._counts.values())
        numbers = (f"{word} => {number + 1}\n" for word, count in self._counts.items() for number in range(count))
        self.bytes = sum(len(line.encode()) for line in numbers)

    def faults(self):
        received = by_word(self.sink)
        expected = {word: list(range(1, count + 1)) for word, count in self._counts.items()}
        return total(compared(received.get(word, []), expected.get(word, [])) for word in {*received, *expected})


class Squares(Stream):
    """A generator gives numbers, which are squared."""

    kind = "squares"

    def __init__(self, folder, size):
        super().__init__(folder)
        self.source = self.messages = size
        self._expected = [str(number * number) for number in range(size)]
        self.bytes = sum(len(line) + 1 for line in self._expected)

    def faults(self):
        return compared(self.sink.read_text().splitlines(), self._expected)


class Windows(Stream):
    """Windows of event time; values that come too late are dead letters."""

    kind = "windows"

    def __init__(self, folder, size):
        super().__init__(folder)
        sent = windows.stream(size, seed=size)
        self.source.write_bytes(windows.lines(sent))
        self.messages = size
        self._windows, self._late = windows.ranges(sent, 100, 100, 10)
        lines = (f"{key} {','.join(map(str, numbers))}\n" for key in self._windows for numbers in self._windows[key])
        self.bytes = sum(map(len, lines))

    def faults(self):
        received = windows.read(self.sink.read_text())
        keys = {*received, *self._windows}
        faults = total(compared(received.get(key, []), self._windows.get(key, [])) for key in keys)
        late = [message_of(letter)[2] for letter in whole_letters(self.letters)]
        return faults + compared(sorted(late), self._late) + of_ids(self.letters)

    def is_prefix(self) -> bool:
        """Whether each key has the first of its windows so far, and each of them is whole."""
        received = windows.read(self.sink.read_text())
        return all(found == self._windows[key][: len(found)] for key, found in received.items())


class Carts(Stream):
    """Carts are left when no message comes for long: timers of event time."""

    kind = "carts"

    def __init__(self, folder, size):
        super().__init__(folder)
        sent = carts.stream(size, seed=size)
        self.source.write_bytes(carts.lines(sent))
        self.messages = size
        self._expected = carts.expected(sent)
        self.bytes = sum(len(line) + 1 for lines in self._expected.values() for line in lines)

    def faults(self):
        received = carts.read(self.sink.read_text())
        keys = {*received, *self._expected}
        return total(compared(received.get(key, []), self._expected.get(key, [])) for key in keys)


class Picky(Stream):
    """A step raises for each twentieth message, and gives the others in capitals."""

    kind = "picky"

    def __init__(self, folder, size):
        super().__init__(folder)
        sent = [f"line {number}" + (" bad" if number % 20 == 7 else "") for number in range(size)]
        self.source.write_text("".join(f"{line}\n" for line in sent))
        self.messages = size
        self._expected = [line.upper() for line in sent if not line.endswith("bad")]
        self._bad = [line for line in sent if line.endswith("bad")]
        self.bytes = sum(len(line) + 1 for line in self._expected)

    def again(self):
        # The messages beside one that raises are run again also when nothing dies.
        return 0

    def faults(self):
        letters = list(map(message_of, whole_letters(self.letters)))
        faults = compared(self.sink.read_text().splitlines(), self._expected)
        return faults + compared(sorted(letters), sorted(self._bad)) + of_ids(self.letters)


STREAMS = {stream.kind: stream for stream in (Words, Squares, Windows, Carts, Picky)}


def compared(received: list, expected: list) -> Faults:
    """The faults of what should be the same list."""
    if received == expected:
        return Faults()
    received, expected = [*map(str, received)], [*map(str, expected)]
    lost, doubled = Counter(expected) - Counter(received), Counter(received) - Counter(expected)
    faults = Faults(sum(lost.values()), sum(doubled.values()))
    return faults if any(faults) else Faults(disordered=1)


def of_ids(letters: Path) -> Faults:
    """Ids that more than one dead letter has."""
    ids = Counter(str(letter["id"]) for letter in whole_letters(letters))
    return Faults(doubled=sum(count - 1 for count in ids.values()))


def whole_letters(path: Path) -> "list[dict]":
    """The dead letters of a file. A line that a killed run has begun and not finished is none."""
    letters = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            letters.append(json.loads(line))
    return letters


def total(faults) -> Faults:
    return sum(faults, Faults())


def by_word(output: Path) -> "dict[str, list[int]]":
    """The numbers of each word, in the order of the output."""
    numbers = defaultdict(list)
    for line in output.read_text().splitlines():
        word, _, number = line.rpartition(" => ")
        numbers[word].append(int(number))
    return numbers
