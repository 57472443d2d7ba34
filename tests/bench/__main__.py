"""Runs the comparison and writes the results.

    python -m tests.bench [--rounds N] [--quick] [--out DIR] [--only PART] [--workload NAME] [--contender NAME]

``make bench`` runs it; ``BENCH="--quick"`` passes options.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.bench import machine, programs
from tests.bench.contenders import Contender, bytewax, display, embedded, loop, ours
from tests.bench.plots import draw
from tests.bench.report import markdown
from tests.bench.results import Results
from tests.bench.rounds import LOADS, PARTS, Comparison
from tests.bench.workloads import WORKLOADS
from tests.harness import interpreters
from tests.harness.places import TARGET

# The workload on which every interpreter and framework is compared; on others only the usual one with 1, 2 and 4
# workers.
WIDE = frozenset({"word count", "market spread"})
# Workloads on which a loop without sockets is comparable. For a payload message, such a loop would only pass a
# reference.
COMPUTING = WIDE | {"100 µs step"}


def main() -> None:
    options = _options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    found = interpreters.discover()
    python = interpreters.environment(found[0])
    load_program, embedded_program = programs.build(Path(sys.executable))
    contenders = _contenders(found, embedded_program)
    if options.contender:
        contenders = [contender for contender in contenders if contender.name in options.contender]
    workloads = [workload for workload in WORKLOADS if not options.workload or workload.key in options.workload]
    conditions = f"Load before: {machine.load()}; {options.rounds} rounds, interleaved; {_versions(found)}."
    results = Results(machine.describe(), conditions, {workload.name: workload.unit for workload in workloads})
    comparison = Comparison(
        contenders,
        workloads,
        results,
        python,
        load_program,
        out / "corpora",
        quick=options.quick,
        shares=options.share or LOADS,
    )
    began = time.monotonic()
    for part in options.only or PARTS:
        for number in range(options.rounds):
            print(f"{part}, round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            comparison.round(part)
            _write(results, out)
    print(markdown(results))
    print(f"{time.monotonic() - began:.0f} s; also in {out}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each with every contender [default: 5]")
    parser.add_argument("--quick", action="store_true", help="a fifth of the messages and of the seconds")
    parser.add_argument(
        "--out", type=Path, default=TARGET / "bench", help="folder for the results [default: target/bench]"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    keys = [workload.key for workload in WORKLOADS]
    parser.add_argument("--workload", action="append", choices=keys, help="only this workload; may be repeated")
    parser.add_argument("--contender", action="append", help="only this contender, as named in tables; may be repeated")
    parser.add_argument(
        "--share",
        action="append",
        type=float,
        help="load at which latency is measured, of a contender's own capacity; may be repeated [default: 0.1 0.5 0.8]",
    )
    return parser.parse_args()


def _contenders(found: list[interpreters.Interpreter], embedded_program: Path) -> list[Contender]:
    usual, *others = found
    python = interpreters.environment(usual)
    contenders = [loop(python, on=COMPUTING), embedded(embedded_program, python)]
    contenders += [ours(python, count, f"{count} worker{'s' * (count > 1)}") for count in (1, 2, 3, 4)]
    # The cost of state that outlives its worker.
    contenders.append(ours(python, 2, "2 workers, no ledger", on=WIDE, options=["--no-ledger"]))
    # Python 3.10 is newer than 3.9.
    cpythons = sorted((found for found in others if found.name.startswith("cpython")), key=_version)
    for interpreter in dict.fromkeys(cpythons[:1] + cpythons[-1:]):
        path = interpreters.environment(interpreter)
        contenders.append(ours(path, 2, f"2 workers, {display(interpreter)}", on=WIDE))
    for interpreter in (found for found in others if found.name.startswith("pypy")):
        path = interpreters.environment(interpreter)
        contenders.append(loop(path, f"loop, {display(interpreter)}", on=WIDE))
        contenders += [
            ours(path, count, f"{count} worker{'s' * (count > 1)}, {display(interpreter)}", on=WIDE) for count in (1, 2)
        ]
    with_bytewax = programs.bytewax_environment(python)
    if with_bytewax is None:
        print("Bytewax cannot be installed here and is left out", file=sys.stderr)
    else:
        contenders += [bytewax(with_bytewax, *shape, on=WIDE) for shape in ((1, 1), (2, 1), (1, 2))]
    return contenders


def _version(interpreter: interpreters.Interpreter) -> tuple[int, ...]:
    return tuple(map(int, interpreter.name[len("cpython") :].split(".")))


def _versions(found: list[interpreters.Interpreter]) -> str:
    return f"{display(found[0])} unless said"


def _write(results: Results, out: Path) -> None:
    """Called after every round, so an interrupted run keeps its results."""
    (out / "results.json").write_text(json.dumps(results.as_dict(), indent=1) + "\n")
    (out / "results.md").write_text(markdown(results))
    draw(results, out)


if __name__ == "__main__":
    main()
