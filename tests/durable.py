"""Kills the orchestrator again and again: ``python -m tests.durable [STREAM ...] [--kills N] [--size N] [--seed N]``.

A run with a state folder is killed, alone, with one worker or with all, or told to stop, and started again with another
number of workers, until its input is done. The output is compared with a model: at file sinks and in dead letters
nothing may be lost, doubled or out of order. Also printed: how long a restart took to its first output, and how many
messages user code ran more than once.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import processes
from tests.harness.durable_shapes import Shapes
from tests.harness.durable_streams import STREAMS, Faults, Stream
from tests.harness.orchestrator import Orchestrator

WORKERS = (1, 2, 3)
#: Small ones make checkpoints frequent.
REPLAY_BUDGETS = ("1ms", "20ms", "250ms")
#: Messages of a stream for each kill, so that the last kill still finds some.
SIZE_OF_KILL = {
    "words": 40_000,
    "squares": 40_000,
    "windows": 15_000,
    "carts": 20_000,
    "picky": 20_000,
    "shapes": 5_000,
}
#: A stream with more kills than this is followed by another, since a model has to fit into memory.
KILLS_OF_STREAM = 50
#: Each of the random applications is another one.
KILLS_OF_SHAPE = 6
#: A run logs about so many records until it is ready.
FIRST_RECORDS = 12
PATIENCE = 120.0
POLL = 0.001


class Watch:
    """Watches a run and what it writes. ``first`` is the time to its first output, if there was one."""

    def __init__(self, run: Orchestrator, stream: Stream):
        self.run = run
        self.first: float | None = None
        self._stream = stream
        self._began = time.monotonic()
        self._before = stream.size()

    @property
    def grown(self) -> int:
        """Bytes that this run has added to the output. It is less than 0 while it writes again what it has cut."""
        return self._stream.size() - self._before

    def until(self, happened: "Callable[[], bool]") -> bool:
        """Waits. Returns false if the run ended before it happened."""
        deadline = time.monotonic() + PATIENCE
        while self.run.process.poll() is None:
            if self.first is None and self.grown > 0:
                self.first = time.monotonic() - self._began
            if happened():
                return True
            assert time.monotonic() < deadline, f"nothing happened within {PATIENCE} s\n{self.run.log()}"
            # Files have no event to wait for.
            time.sleep(POLL)
        return False


def grows(watch: Watch, stream: Stream, rng, left: int) -> "Callable[[], bool]":
    """The output has grown by a random share of what is left for each kill."""
    wanted = rng.uniform(0, 2) * (stream.bytes - stream.size()) / (left + 2)
    return lambda: watch.grown > wanted


def starts(watch: Watch, stream: Stream, rng, left: int) -> "Callable[[], bool]":
    """The run is on its way to its first output: it has logged so much."""
    records = rng.randrange(FIRST_RECORDS)
    return lambda: len(watch.run.events) >= records or watch.grown > 0


def stores(watch: Watch, stream: Stream, rng, left: int) -> "Callable[[], bool]":
    """The store is being written, or much more has come out."""
    store = stream.state / "store.redb"
    written: int | None = None
    grown = grows(watch, stream, rng, left)

    def is_written() -> bool:
        nonlocal written
        if watch.grown <= 0 or not store.exists():
            return False
        before, written = written, store.stat().st_mtime_ns
        return before not in (None, written) or grown()

    return is_written


def kill_all(run: Orchestrator) -> None:
    """Kills the orchestrator, its guard and its workers."""
    for pid in [run.pid, *processes.tagged(run.tag)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_orchestrator(run: Orchestrator) -> None:
    """Kills the orchestrator alone."""
    run.process.kill()


def kill_worker_too(run: Orchestrator) -> None:
    """Kills a worker and then the orchestrator."""
    for pid in run.workers()[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.process.kill()


def suspend(run: Orchestrator) -> None:
    """Has the run end by itself, so that the next one can go on."""
    run.signal(signal.SIGTERM)


Attack = Callable[[Orchestrator], None]
#: In turn.
ATTACKS: "tuple[Attack, ...]" = (kill_all, kill_orchestrator, kill_worker_too, suspend)
#: Exit codes of a run that was stopped: suspended, told to stop before it was ready, killed.
STOPPED = (0, 130, -signal.SIGKILL)


@dataclass
class Outcome:
    """What came of a stream."""

    kills: int = 0
    faults: Faults = field(default_factory=Faults)
    #: Seconds from each restart to its first output.
    restarts: "list[float]" = field(default_factory=list)
    #: Messages that user code ran more than once.
    again: int = 0
    messages: int = 0

    def add(self, other: "Outcome") -> None:
        self.kills += other.kills
        self.faults += other.faults
        self.restarts += other.restarts
        self.again += other.again
        self.messages += other.messages


def storm(stream: Stream, kills: int, seed: int, attacks: Sequence[Attack] = ATTACKS) -> Outcome:
    """Runs a stream to its end, with ``kills`` kills before it if it is long enough."""
    rng = random.Random(seed)
    outcome = Outcome(messages=stream.messages)
    moments = (grows, grows, grows, starts, stores)
    with contextlib.ExitStack() as runs:
        is_restart, ended, stops = False, False, 0
        while not ended:
            # What an earlier run has left behind may still end while the next one starts.
            with runs.pop_all():
                run = runs.enter_context(started(stream, rng.choice(WORKERS), rng.choice(REPLAY_BUDGETS)))
                watch = Watch(run, stream)
                left = kills - outcome.kills
                happened = rng.choice(moments)(watch, stream, rng, left) if left else lambda: False
                ended = not watch.until(happened)
                if not ended:
                    attacks[stops % len(attacks)](run)
                    stops += 1
                code = run.wait()
            assert code in ((0,) if ended else STOPPED), f"exit code {code}\n{run.text()}\n{run.log()}"
            outcome.kills += code == -signal.SIGKILL
            if watch.first is not None and is_restart:
                outcome.restarts.append(watch.first)
            is_restart = True
    outcome.faults = stream.faults()
    outcome.again = stream.again()
    return outcome


def started(stream: Stream, workers: int, replay_budget: str = "250ms", pace: float = 0.0) -> Orchestrator:
    """A run of a stream, which takes ``pace`` seconds longer for each message."""
    options = [*stream.options, "--replay-budget", replay_budget]
    return Orchestrator(*stream.application(pace), workers=workers, options=options)


def percentile(values: "list[float]", share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def report(name: str, outcome: Outcome) -> str:
    """The result of a stream, for people."""
    lost, doubled, disordered = outcome.faults
    p50, p99 = (percentile(outcome.restarts, share) * 1e3 for share in (0.5, 0.99))
    return (
        f"{name}: {outcome.messages:,} messages, {outcome.kills} kills; lost {lost}, doubled {doubled}, "
        f"out of order {disordered}; {len(outcome.restarts)} restarts to first output: p50 {p50:.0f} ms, "
        f"p99 {p99:.0f} ms; run again {outcome.again:,}, {outcome.again / max(outcome.kills, 1):,.0f} a kill"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("streams", nargs="*", metavar="STREAM", help=f"of {', '.join(SIZE_OF_KILL)} [default: all]")
    parser.add_argument("--kills", type=int, default=250, help="of each stream")
    parser.add_argument("--size", type=int, help="messages of a stream [default: enough for its kills]")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--no-suspend", action="store_true", help="only kill")
    options = parser.parse_args()
    unknown = set(options.streams) - set(SIZE_OF_KILL)
    if unknown:
        parser.error(f"no such stream: {', '.join(unknown)}")
    attacks = [attack for attack in ATTACKS if attack is not suspend or not options.no_suspend]
    print(f"seed {options.seed}", flush=True)
    seeds = random.Random(options.seed)
    failed = False
    for name in options.streams or SIZE_OF_KILL:
        outcome = Outcome()
        while outcome.kills < options.kills and not any(outcome.faults):
            kills = min(options.kills - outcome.kills, KILLS_OF_SHAPE if name == "shapes" else KILLS_OF_STREAM)
            size = options.size or SIZE_OF_KILL[name] * (kills + 1)
            outcome.add(in_folder(name, size, kills, seeds.randrange(2**32), attacks))
        print(report(name, outcome), flush=True)
        failed |= any(outcome.faults)
    return 1 if failed else 0


def in_folder(name: str, size: int, kills: int, seed: int, attacks: Sequence[Attack]) -> Outcome:
    """Runs a stream in a folder of its own, which is kept if anything is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="durable-"))
    print(f"{name}: {folder}, size {size}, seed {seed}", flush=True)
    stream = Shapes(folder, size, seed) if name == "shapes" else STREAMS[name](folder, size)
    outcome = storm(stream, kills, seed, attacks)
    if any(outcome.faults):
        print(f"{name}: {outcome.faults}: {' '.join(map(str, stream.application()))}", flush=True)
    else:
        shutil.rmtree(folder)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
