"""Kills and freezes processes under full load: ``python -m tests.chaos [ATTACK ...] [--seconds N] [--workers N ...]``.

Every output message is checked: none is lost or doubled, and each key keeps the order of sending. The rate is printed
as a share of that of an undisturbed run.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass

from tests.harness.clients import Consumer
from tests.harness.load import Checker, Load
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS
from tests.harness.processes import children, command_line, wait_for_exit

PERIOD = 0.2
UNDISTURBED_SECONDS = 5.0
# Time for the backlog that remains when the load ends.
PATIENCE = 300.0


@dataclass
class Outcome:
    """The result of a storm."""

    messages: int
    rate: float
    attacks: int
    deaths: int


def kill_one(run, rng):
    """Kills any worker."""
    kill(some(run, rng, 1))


def kill_two(run, rng):
    """Kills two workers at once."""
    kill(some(run, rng, 2))


def kill_recovering(run, rng):
    """Kills a worker, and its standby as soon as it may have taken the slot."""
    victims = some(run, rng, 1)
    kill(victims)
    for victim in victims:
        wait_for_exit(victim, PATIENCE)
    kill(loaded(run)[-1:])


def freeze(run, rng):
    """Stops a worker for one to five seconds, then lets it continue."""
    for victim in some(run, rng, 1):
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGSTOP)
            threading.Event().wait(rng.uniform(1, 5))
            os.kill(victim, signal.SIGCONT)


def suspend(run, rng):
    """Stops the orchestrator itself for two to five seconds, as a suspended machine does."""
    run.signal(signal.SIGSTOP)
    threading.Event().wait(rng.uniform(2, 5))
    run.signal(signal.SIGCONT)


def kill_guard(run, rng):
    """Kills the guard, and then a worker."""
    kill(pid for pid in children(run.pid) if "guard" in command_line(pid))
    kill_one(run, rng)


def mixed(run, rng):
    """Any of the others."""
    rng.choice([kill_one, kill_two, kill_recovering, freeze, suspend, kill_guard])(run, rng)


ATTACKS = {
    "kill-one": kill_one,
    "kill-two": kill_two,
    "kill-recovering": kill_recovering,
    "freeze": freeze,
    "suspend": suspend,
    "kill-guard": kill_guard,
    "mixed": mixed,
}
OPTIONS = {
    # Shorter than the attack: nobody is blamed for what the orchestrator has slept through.
    suspend: ["--step-timeout", "1s"],
}


def loaded(run):
    """Workers that have loaded the application, standbys included, oldest first. The list may be empty for a moment."""
    have_loaded = {int(message.split()[1]) for message in run.messages() if message.startswith("loaded ")}
    return [pid for pid in run.workers() if pid in have_loaded]


def some(run, rng, count):
    """At most ``count`` of them."""
    workers = loaded(run)
    return rng.sample(workers, min(count, len(workers)))


def kill(pids):
    for pid in pids:
        # It may have just ended by itself or been killed.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def storm(workers: int, seconds: float, attack=None, seed: int = 0) -> Outcome:
    """Runs full load for ``seconds``, with an attack every 200 ms, and checks all output."""
    rng = random.Random(seed)
    checker = Checker()
    with Consumer(take=checker.take) as consumer:
        application = [APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place]
        with Orchestrator(*application, workers=workers, options=OPTIONS.get(attack, [])) as run:
            load = Load(run.address())
            consumer.wait_count(1)
            began = time.monotonic()
            attacks = 0
            # The storm lasts a fixed time, so this waits for time.
            while time.monotonic() < began + seconds:
                threading.Event().wait(PERIOD)
                if attack is not None:
                    attack(run, rng)
                    attacks += 1
                assert run.process.poll() is None, f"the orchestrator ended\n{run.log()}"
                assert checker.first_fault is None, f"{checker.first_fault}\n{run.log()}"
            rate = consumer.count / (time.monotonic() - began)
            sent = load.finish(PATIENCE)
            consumer.wait_count(sent, PATIENCE)
            run.stop()
            summary = run.summary()
        checker.check(sent)
        assert consumer.count == sent
        assert summary["dead_letters"] == 0, run.log()
    return Outcome(sent, rate, attacks, summary["worker_deaths"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(ATTACKS)} [default: all]")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each attack, with each number of workers")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    unknown = set(options.attacks) - set(ATTACKS)
    if unknown:
        parser.error(f"no such attack: {', '.join(unknown)}")
    print(f"seed {options.seed}", flush=True)
    for workers in options.workers:
        calm = storm(workers, min(UNDISTURBED_SECONDS, options.seconds))
        print(f"{workers} workers, undisturbed: {calm.rate:,.0f} messages/s", flush=True)
        for name in options.attacks or ATTACKS:
            outcome = storm(workers, options.seconds, ATTACKS[name], options.seed)
            print(
                f"{workers} workers, {name}: {outcome.messages:,} messages, lost 0, doubled 0, order kept; "
                f"{outcome.attacks} attacks, {outcome.deaths} deaths of seated workers; "
                f"{outcome.rate:,.0f} messages/s, {outcome.rate / calm.rate:.0%} of undisturbed",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
