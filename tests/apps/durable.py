"""``durable.py KIND FROM TO [--ran FILE] [--pace SECONDS] [--more]``: streams for runs whose orchestrator is killed.

FROM is a file, or the number of values to generate; TO is a file or HOST:PORT. One step of each kind appends a byte to
``--ran`` for each message, so the length of that file tells how often messages were run, and takes ``--pace`` for it.
``--more`` adds a step with state.
"""

import argparse
import os
import time

import carts
import wallaroo


class Lines:
    delimiter = b"\n"

    def decode(self, bs):
        return bs.decode()

    def encode(self, data):
        return f"{data}\n"


class Below:
    """Generates the numbers below a limit."""

    def __init__(self, limit):
        self.limit = limit

    def initial_value(self):
        return 0

    def apply(self, previous):
        return previous + 1 if previous + 1 < self.limit else None


class Ran:
    """Appends a byte to a file for each message."""

    def __init__(self, path, pace):
        self._path = path
        self._pace = pace
        self._file = None

    def note(self):
        if self._pace:
            time.sleep(self._pace)
        if self._path is not None:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(self._file, b".")


class Count:
    """The state of a key."""

    def __init__(self):
        self.count = 0


def words(line):
    return line.lower().split()


def timed(line):
    at, key, number = line.split(" ")
    return int(at), key, int(number)


def listed(window):
    return f"{window.key} {','.join(map(str, sorted(number for _, _, number in window.value)))}"


def count_words(pipeline, ran, more):
    def numbered(word, seen):
        ran.note()
        seen.count += 1
        return f"{word} => {seen.count}"

    pipeline = pipeline.flat_map(words, name="words").key_by(lambda word: word, name="word")
    if more:
        pipeline = pipeline.stateful(lambda word, seen: word, Count, name="more")
    return pipeline.stateful(numbered, Count, name="count")


def squares(pipeline, ran, more):
    def square(number):
        ran.note()
        return number * number

    return pipeline.map(square, name="square")


def windows(pipeline, ran, more):
    def noted(message):
        ran.note()
        return message

    window = wallaroo.tumbling(100, delay=10, on_late="dead-letter")
    pipeline = pipeline.key_by(lambda message: message[1], name="key").map(noted, name="noted")
    return pipeline.window(window).aggregate(wallaroo.collect_list(), name="windows").map(listed, name="listed")


def left_carts(pipeline, ran, more):
    def noted(message):
        ran.note()
        return message

    carts.book.left_after = carts.LEFT_AFTER["event"]
    pipeline = pipeline.key_by(carts.key, name="key").map(noted, name="noted")
    return pipeline.stateful(carts.book, carts.Cart, on_timer=carts.leave, name="book")


def picky(pipeline, ran, more):
    def refuse(line):
        ran.note()
        if line.endswith(" bad"):
            raise ValueError(f"{line!r} is not wanted")
        return line.upper()

    return pipeline.map(refuse, name="refuse")


class Timed(Lines):
    def decode(self, bs):
        return timed(bs.decode())


KINDS = {"words": count_words, "squares": squares, "windows": windows, "picky": picky, "carts": left_carts}


def application_setup(args):
    print("loaded", os.getpid())
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("source")
    parser.add_argument("sink")
    parser.add_argument("--ran")
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--more", action="store_true")
    options = parser.parse_args(args)
    if options.kind == "squares":
        source = wallaroo.GenSourceConfig(Below(int(options.source)))
    elif options.kind == "windows":
        source = wallaroo.FileSourceConfig(options.source, Timed, event_time=lambda message: message[0])
    elif options.kind == "carts":
        source = wallaroo.FileSourceConfig(options.source, carts.Lines, event_time=carts.seconds)
    else:
        source = wallaroo.FileSourceConfig(options.source, Lines)
    host, _, port = options.sink.rpartition(":")
    sink = wallaroo.TCPSinkConfig(host, port, Lines) if host else wallaroo.FileSinkConfig(options.sink, Lines)
    pipeline = KINDS[options.kind](wallaroo.source("source", source), Ran(options.ran, options.pace), options.more)
    return wallaroo.application(f"Durable {options.kind}", pipeline.to_sink(sink))
