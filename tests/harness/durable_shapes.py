"""Random applications whose orchestrator is killed. What an undisturbed run without a state folder writes is right."""

import json
import random
from collections import Counter, defaultdict
from pathlib import Path

from tests.harness.durable_streams import Faults, Stream, compared, of_ids, total, whole_letters
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

TIMED_STATELESS = ("upper", "some", "raises", "parts")
VERBS = ("map", "filter", "flat_map", "inspect", "branch", "split")
AGGREGATES = ("stateful", "count", "sum", "mean", "min", "max", "reduce", "dedup")
AGGREGATIONS = ("count", "sum", "mean", "min", "reduce", "collect_list")
FARTHEST_BEHIND = 200


class Shapes(Stream):
    """An application of ``verbs.py`` or ``timed.py``, with one or two sources and two sinks."""

    kind = "shapes"

    def __init__(self, folder: Path, size: int, seed: int):
        super().__init__(folder)
        rng = random.Random(seed)
        app, sources, self.shape = rng.choice([verbs, one_source, two_sources])(rng)
        paths = [folder / f"in {number}.txt" for number in range(sources)]
        for path in paths:
            path.write_text("".join(f"{line}\n" for line in lines(rng, size // sources)))
        self._app = APPS / f"{app}.py"
        self.shape["sources"] = list(map(str, paths))
        self.sinks = [folder / f"out {number}.txt" for number in range(2)]
        self.sink = self.sinks[0]
        self._expect()

    def application(self, pace=0.0):
        return [self._app, json.dumps(self.shape), *self.sinks]

    @property
    def options(self):
        return [*super().options, "--idle-after", "1h"]

    @property
    def _results(self):
        outputs = [sink.read_text().splitlines() if sink.exists() else [] for sink in self.sinks]
        letters = [(letter["step"], letter["message"], letter["key"]) for letter in whole_letters(self.letters)]
        return outputs, Counter(map(str, letters))

    def _expect(self):
        options = ["--dead-letters", self.letters, "--idle-after", "1h"]
        with Orchestrator(*self.application(), options=options) as run:
            run.wait()
        self._expected, self._expected_letters = self._results
        self.bytes = self.size()
        for path in (*self.sinks, self.letters):
            path.unlink(missing_ok=True)

    def again(self):
        return 0

    def faults(self):
        outputs, letters = self._results
        found = total(map(self._compared, outputs, self._expected))
        lost, doubled = self._expected_letters - letters, letters - self._expected_letters
        return found + Faults(sum(lost.values()), sum(doubled.values())) + of_ids(self.letters)

    def _compared(self, received, expected):
        if self.shape["key"] in (None, "all"):
            return compared(received, expected)
        received, expected = by_key(received), by_key(expected)
        return total(compared(received[key], expected[key]) for key in {*received, *expected})


def verbs(rng):
    keyed = []
    for _ in range(rng.randrange(1, 5)):
        kind = rng.choice(["verb", "aggregate", "aggregate", "windows"])
        if kind == "windows":
            keyed.append([*windows(rng, [0, 20, FARTHEST_BEHIND]), rng.randrange(-90, 90), rng.choice(AGGREGATIONS)])
        else:
            keyed.append(rng.choice(VERBS if kind == "verb" else AGGREGATES))
    stateless = [rng.choice(VERBS) for _ in range(rng.randrange(3))]
    return "verbs", 1, {"stateless": stateless, "key": rng.choice(["text", "text", None]), "keyed": keyed}


def one_source(rng):
    keyed = []
    for _ in range(rng.randrange(1, 6)):
        kind = rng.choice(["stateless", "state", "windows", "windows", "key again"])
        if kind == "windows":
            keyed.append(windows(rng, [0, 0, 20, FARTHEST_BEHIND]))
        elif kind == "key again":
            keyed.append(kind)
        else:
            keyed.append(rng.choice(TIMED_STATELESS if kind == "stateless" else ("number", "with last")))
    return "timed", 1, timed(rng, keyed)


def two_sources(rng):
    steps = [rng.choice((*TIMED_STATELESS, "number", "with last")) for _ in range(rng.randrange(4))]
    return "timed", 2, timed(rng, [windows(rng, [FARTHEST_BEHIND], ["range", "session"]), *steps])


def timed(rng, keyed):
    stateless = [rng.choice(TIMED_STATELESS) for _ in range(rng.randrange(3))]
    key = rng.choice(["text", "number", "pair", "all"])
    return {"generation": 3, "stateless": stateless, "key": key, "keyed": keyed}


def windows(rng, delays, kinds=("count", "range", "session")):
    kind = rng.choice(kinds)
    size = rng.randrange(1, 9 if kind == "count" else 81)
    return [kind, size, rng.randrange(1, 81), rng.choice(delays), rng.choice(["drop", "dead-letter"])]


def lines(rng, count):
    """The lines of a source: time advances, and messages lag behind it."""
    clock = 0
    for _ in range(count):
        clock += rng.randrange(11)
        behind = rng.choice([0, rng.randrange(31), rng.randrange(FARTHEST_BEHIND)])
        text = "".join(rng.choices("abxy-q", [5, 5, 2, 2, 2, 1], k=rng.randrange(1, 6)))
        yield f"{clock - behind} {rng.choice('cdef')} {text}"


def by_key(written):
    """The lines of each key, in order."""
    of_key = defaultdict(list)
    for line in written:
        of_key[line.split(" ", 1)[0]].append(line)
    return of_key
