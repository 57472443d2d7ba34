"""What a step pays once its state has been asked for its ``__dict__``, as pickling asks: word count's, alone in a loop.

    PYTHONPATH=src python tests/bench_attributes.py [rounds]

Prints nanoseconds of processor time a word, the least of all rounds, with fresh states and with states that were asked.
They differ under CPython 3.11 and 3.12; see ``wallaroo/_codec/attributes.py``.
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from time import process_time_ns

EXAMPLE = Path(__file__).parents[2] / "examples" / "word_count"
sys.path.insert(0, str(EXAMPLE))

from word_count import CountWord, Split, WordPartitionFunction, WordTotals  # noqa: E402


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    words = list(chain.from_iterable(map(Split().compute_multi, (EXAMPLE / "text.txt").read_text().splitlines())))
    keys = list(map(WordPartitionFunction().partition, words))
    states = {key: WordTotals() for key in keys}
    compute = CountWord().compute

    def least() -> float:
        times = []
        for _ in range(rounds):
            began = process_time_ns()
            for word, key in zip(words, keys):
                compute(word, states[key])
            times.append(process_time_ns() - began)
        return min(times) / len(words)

    fresh = least()
    for state in states.values():
        vars(state)
    asked = least()
    print(f"{sys.implementation.name} {sys.version.split()[0]}: fresh {fresh:.0f} ns a word, asked {asked:.0f}")


if __name__ == "__main__":
    main()
