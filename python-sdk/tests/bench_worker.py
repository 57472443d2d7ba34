"""What the worker adds to the user's own code: word count's two stages against one plain loop over the same classes.

    PYTHONPATH=src python tests/bench_worker.py [rounds [lines in a batch]]

The stages are run as the session runs them, from message body to reply body, without sockets. Rounds of both are
interleaved and the fastest of each is printed, in nanoseconds of processor time a word: what others do to the machine
only ever adds. Figures of different runs are not comparable, their ratios are. With one line in a batch, a line is a
batch of each stage, as where lines come one by one.
"""

from __future__ import annotations

import gc
import importlib
import sys
from itertools import cycle, islice
from pathlib import Path
from time import process_time_ns

import msgpack

from wallaroo._codec import protocol as protocol
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._compile import Compiler
from wallaroo.worker._load import load
from wallaroo.worker._marker import Marker
from wallaroo.worker._results import result_bodies
from wallaroo.worker._session import _settle_memory
from wallaroo.worker._state import StateTables

EXAMPLE = Path(__file__).parents[2] / "examples" / "word_count"
LINES = 20_000
WORDS_TO_A_LINE = 10
CAP = protocol.DEFAULT_MAX_BODY


def frames() -> list[bytes]:
    """Lines of the example's text, over and over."""
    text = [line for line in (EXAMPLE / "text.txt").read_text().splitlines() if line.strip()]
    return [line.encode() for line in islice(cycle(text), LINES)]


class Loop:
    """The same classes, called one after another for each word: no framework at all."""

    def __init__(self, word_count) -> None:
        self.decode = word_count.Decoder().decode
        self.split = word_count.Split().compute_multi
        self.partition = word_count.WordPartitionFunction().partition
        self.compute = word_count.CountWord().compute
        self.encode = word_count.Encoder().encode
        self.build = word_count.WordTotalsBuilder().build

    def run(self, lines: list[bytes]) -> tuple[int, int]:
        decode, split, partition, compute, encode = self.decode, self.split, self.partition, self.compute, self.encode
        states: dict[str, object] = {}
        messages: list[str] = []
        started = process_time_ns()
        for line in lines:
            for word in split(decode(line)):
                key = partition(word)
                state = states.get(key)
                if state is None:
                    state = states[key] = self.build()
                counted, _ = compute(word, state)
                messages.append(encode(counted))
            if len(messages) >= 4_000:
                messages.clear()
        return process_time_ns() - started, 0


class Stages:
    """The two stages of the plan, fed as the orchestrator feeds them."""

    def __init__(self, loaded, lines_in_a_batch: int) -> None:
        self.lines = lines_in_a_batch
        self.words = 1 if lines_in_a_batch == 1 else lines_in_a_batch * WORDS_TO_A_LINE
        self.codec = loaded.codec
        tables = StateTables()
        compiler = Compiler(loaded.application, tables, loaded.codec, CAP)
        self.stages = [compiler.compile("frames", 0, [2]), compiler.compile("groups", 2, [4])]

    def step(self, stage: int, body: bytes) -> bytes:
        message = protocol.decode(body)
        run = BatchRun(message, self.codec, Marker(None))
        outlets = self.stages[stage].run(message.input, run)
        (reply,) = result_bodies(run, outlets, lambda: 0, ended=False, max_body=CAP)
        return reply

    def run(self, lines: list[bytes]) -> tuple[int, int]:
        elapsed = words = 0
        groups: list[object] = []
        waiting = 0
        for start in range(0, len(lines), self.lines):
            body = protocol.encode(protocol.Batch(1, 0, 0, [], [], lines[start : start + self.lines]))
            began = process_time_ns()
            reply = self.step(0, body)
            elapsed += process_time_ns() - began
            data = msgpack.unpackb(reply)[4][2]
            groups += data
            waiting += sum(data[1::4])
            if waiting >= self.words or start + self.lines >= len(lines):
                body = protocol.encode(protocol.Batch(2, 1, 0, [], [], groups))
                began = process_time_ns()
                self.step(1, body)
                elapsed += process_time_ns() - began
                words += waiting
                groups, waiting = [], 0
        return elapsed, words


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    lines_in_a_batch = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    loaded = load(str(EXAMPLE / "word_count.py"), ["--in", "127.0.0.1:7010", "--out", "127.0.0.1:7002"])
    word_count = importlib.import_module("word_count")
    loop, stages = Loop(word_count), Stages(loaded, lines_in_a_batch)
    lines = frames()
    _settle_memory()
    loop_times, stage_times, words = [], [], 1
    for _ in range(rounds):
        elapsed, _ = loop.run(lines)
        loop_times.append(elapsed)
        gc.collect()
        elapsed, words = stages.run(lines)
        stage_times.append(elapsed)
        gc.collect()
    plain, staged = min(loop_times) / words, min(stage_times) / words
    print(f"{sys.implementation.name} {sys.version.split()[0]}, {words} words, {rounds} rounds")
    print(f"plain loop {plain:7.0f} ns a word, {plain * words / LINES / 1e3:6.1f} µs a line")
    print(f"worker     {staged:7.0f} ns a word, {staged * words / LINES / 1e3:6.1f} µs a line")
    print(f"           {staged / plain:.2f} of the loop, {staged - plain:+.0f} ns a word")


if __name__ == "__main__":
    main()
