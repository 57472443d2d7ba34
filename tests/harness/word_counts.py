"""The expected output of word count, computed with its own classes in a plain loop."""

import importlib.util
import sys
from collections import Counter, defaultdict

from tests.harness.places import TEXT, WORD_COUNT


def application():
    """The module of the example."""
    if "word_count" not in sys.modules:
        spec = importlib.util.spec_from_file_location("word_count", WORD_COUNT)
        module = importlib.util.module_from_spec(spec)
        sys.modules["word_count"] = module
        spec.loader.exec_module(module)
    return sys.modules["word_count"]


def text_lines(count: int) -> "list[str]":
    """``count`` lines of the example's text, which is repeated as needed."""
    lines = TEXT.read_text().splitlines()
    return (lines * (count // len(lines) + 1))[:count]


def totals(lines) -> Counter:
    """The number of occurrences of each word."""
    split = application().Split()
    # Most lines occur many times.
    counts = Counter()
    for line, times in Counter(lines).items():
        for word in split.compute_multi(line):
            counts[word] += times
    return counts


def check_in_order(received: "list[str]", expected: Counter) -> None:
    """For every word the counts are exactly 1, 2, ..., n in that order."""
    counts = Counter()
    for line in received:
        word, _, count = line.rpartition(" => ")
        counts[word] += 1
        assert int(count) == counts[word], f"{word!r}: {count} came as number {counts[word]}"
    _check_totals(counts, expected)


def check_totals(received: "list[str]", expected: Counter) -> None:
    """For every word the counts are 1, 2, ..., n in any order."""
    counts = defaultdict(list)
    for line in received:
        word, _, count = line.rpartition(" => ")
        counts[word].append(int(count))
    for word, seen in counts.items():
        assert sorted(seen) == list(range(1, len(seen) + 1)), f"{word!r}: {seen}"
    _check_totals(Counter({word: len(seen) for word, seen in counts.items()}), expected)


def _check_totals(counts: Counter, expected: Counter) -> None:
    lost, doubled = expected - counts, counts - expected
    assert not lost, f"lost: {lost.most_common(10)}"
    assert not doubled, f"too many: {doubled.most_common(10)}"
