"""The workloads: applications, and messages for them."""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from tests.harness.places import ROOT, TEXT, WORD_COUNT

APPS = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class Workload:
    """An application and its input.

    Args:
        name: The name in tables.
        unit: The unit of the output messages.
        app: The application.
        make: Makes the corpus, one message per line.
        repeat: How often one round of a throughput measurement sends the corpus.
        keep_newline: Whether the newline is part of a message.
    """

    name: str
    unit: str
    app: Path
    make: Callable[[], bytes]
    repeat: int
    keep_newline: bool = False

    @property
    def key(self) -> str:
        """The name in file names and options."""
        return self.name.lower().replace(" ", "-").replace("µ", "u")

    def corpus(self, folder: Path) -> Path:
        """Write the messages into ``folder`` and return the file's path."""
        path = folder / f"{self.key}.txt"
        path.write_bytes(self.make())
        return path


def _market() -> bytes:
    chance = random.Random(1)
    symbols = [f"S{number:05d}" for number in range(10_000)]
    lines = []
    for number in range(50_000):
        symbol, price = chance.choice(symbols), round(chance.uniform(10, 500), 2)
        if number % 2:
            lines.append(f"Q,{symbol},{price},{round(price + chance.choice([0.01, 0.03, 0.1]), 2)}")
        else:
            lines.append(f"O,{symbol},ORD{number:08d},{chance.choice('BS')},{chance.randint(1, 1000)},{price}")
    return _lines(lines)


def _payload(size: int, count: int) -> bytes:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    lines = [(alphabet[index % 26 :] + alphabet * (size // 26 + 1))[: size - 1] for index in range(count)]
    return _lines(lines)


def _lines(lines: list[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


WORKLOADS = [
    Workload("word count", "words", WORD_COUNT, TEXT.read_bytes, 900),
    Workload("market spread", "orders", APPS / "market_spread.py", _market, 25),
    Workload(
        "100 µs step", "messages", APPS / "cpu_step.py", lambda: _lines([f"message {n}" for n in range(100)]), 250
    ),
    Workload("1 KB payload", "messages", APPS / "payload.py", lambda: _payload(1 << 10, 1000), 600, keep_newline=True),
    Workload("64 KB payload", "messages", APPS / "payload.py", lambda: _payload(64 << 10, 32), 500, keep_newline=True),
]


def count_outputs(workload: Workload, corpus: Path, python: Path, environment: dict[str, str]) -> int:
    """Return the number of output messages for the corpus sent once, counted by a plain loop."""
    command = [str(python), "-m", "tests.bench.plain_loop", str(workload.app), str(corpus), "--repeat", "1"]
    command += ["--rounds", "1", *(["--keep-newline"] if workload.keep_newline else [])]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return int(json.loads(done.stdout)["outputs"])
