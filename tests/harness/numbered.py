"""The expected output of ``tests/apps/numbered.py``."""

from collections import defaultdict


def messages(count: int, keys: int = 20, bad=()) -> "list[str]":
    """``count`` messages over ``keys`` keys; those whose number is in ``bad`` make the application misbehave."""
    return [f"k{number % keys} {number}" + (" bad" if number in bad else "") for number in range(count)]


def expected(sent: "list[str]", without=()) -> "dict[str, list[str]]":
    """The output lines of each key, in order, without the messages ``without``."""
    lines = defaultdict(list)
    for message in sent:
        if message not in without:
            key, number = message.split(" ")[:2]
            lines[key].append(f"{key} {number} => {len(lines[key]) + 1}")
    return dict(lines)


def by_key(received: "list[str]") -> "dict[str, list[str]]":
    """The lines of each key, in the order in which they came."""
    lines = defaultdict(list)
    for line in received:
        lines[line.split(" ", 1)[0]].append(line)
    return dict(lines)
