"""A worker's hot path on fixed messages, or a plain loop over the same classes, for counting instructions.

    python -m tests.hot_path WORKLOAD worker|loop ROUNDS

Workloads are word-count and market-spread; and decorated and verbs, which do the same with decorated steps and with
verbs, and have no loop. The worker's part goes from the body of a batch to the body of its result, for both stages. A
round is one batch of each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, NamedTuple

import msgpack
from wallaroo._codec import protocol as protocol
from wallaroo._pipeline.topology import Application, KeyByNode, SinkNode
from wallaroo.worker._batch import BatchRun
from wallaroo.worker._compile import Compiler
from wallaroo.worker._load import Loaded, load
from wallaroo.worker._marker import Marker
from wallaroo.worker._results import result_bodies
from wallaroo.worker._session import _settle_memory
from wallaroo.worker._state import StateTables

from tests.bench.chain import Chain
from tests.harness.places import ROOT, TEXT, WORD_COUNT

APPS = ROOT / "tests" / "bench" / "apps"
CAP = protocol.DEFAULT_MAX_BODY


ADDRESSES = ["--in", "127.0.0.1:7010", "--out", "127.0.0.1:7002"]


class Workload(NamedTuple):
    """An application, its arguments and the frames of a round."""

    application: Path
    arguments: list[str]
    frames: list[bytes]


def text() -> list[bytes]:
    """Lines of the text of word count."""
    return [line for line in TEXT.read_bytes().splitlines() if line][:100]


def word_count() -> Workload:
    """Few keys, with str values."""
    return Workload(WORD_COUNT, ADDRESSES, text())


def decorated() -> Workload:
    """Steps of every kind that have a verb, decorated."""
    return Workload(APPS / "decorated_or_verbs.py", ["decorated"], text())


def verbs() -> Workload:
    """The verbs of the same."""
    return Workload(APPS / "decorated_or_verbs.py", ["verbs"], text())


def market_spread() -> Workload:
    """Objects as values, and rarely two with the same key."""
    lines = []
    for number in range(400):
        symbol, price = f"S{number * 7919 % 10_007:05d}", round(10 + number * 1.37 % 490, 2)
        order, quote = f"O,{symbol},ORD{number:08d},B,{number},{price}", f"Q,{symbol},{price},{round(price + 0.03, 2)}"
        lines.append((quote if number % 2 else order).encode())
    return Workload(APPS / "market_spread.py", ADDRESSES, lines)


WORKLOADS = {"word-count": word_count, "market-spread": market_spread, "decorated": decorated, "verbs": verbs}


def worker(loaded: Loaded, frames: list[bytes]) -> Callable[[], None]:
    """Return a round of the two stages, run as the session runs them."""
    application: Application = loaded.application
    (key,) = (node for node, config in enumerate(application.nodes) if isinstance(config, KeyByNode))
    (sink,) = (node for node, config in enumerate(application.nodes) if isinstance(config, SinkNode))
    tables, marker = StateTables(), Marker(None)
    compiler = Compiler(application, tables, loaded.codec, CAP)
    stages = [compiler.compile("frames", 0, [key]), compiler.compile("groups", key, [sink])]

    def answer(body: bytes) -> bytes:
        message: Any = protocol.decode(body)
        run = BatchRun(message, loaded.codec, marker)
        tables.begin_batch(message.batch)
        outlets = stages[message.stage].run(message.input, run)
        (reply,) = result_bodies(run, outlets, lambda: 0, ended=False, max_body=CAP)
        return reply

    source = protocol.encode(protocol.Batch(1, 0, 0, [], [], frames))

    def turn() -> None:
        groups = msgpack.unpackb(answer(source))[4][2]
        answer(protocol.encode(protocol.Batch(2, 1, 0, [], [], groups)))

    return turn


def loop(loaded: Loaded, frames: list[bytes]) -> Callable[[], None]:
    """Return a round of a loop written for the application."""
    whole = Chain(loaded.application).whole()
    states: dict[Any, Any] = {}
    return lambda: whole(frames, [].append, states)


def main() -> None:
    workload, kind, rounds = sys.argv[1:]
    app, arguments, frames = WORKLOADS[workload]()
    loaded = load(str(app), arguments)
    turn = {"worker": worker, "loop": loop}[kind](loaded, frames)
    _settle_memory()
    for _ in range(int(rounds)):
        turn()


if __name__ == "__main__":
    main()
