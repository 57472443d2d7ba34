"""What ``tests/apps/carts.py`` gives, computed message by message, for streams of ``(time, key, what)``."""

import random
from collections import defaultdict

LEFT_AFTER = 30


def stream(count, seed, keys=40):
    """Messages whose time rises by one on average, out of order by up to 5. Some carts are left, and some paid for."""
    rng = random.Random(seed)
    clock = 0
    messages = []
    for _ in range(count):
        clock += rng.randrange(3)
        messages.append(
            (max(0, clock - rng.randrange(5)), f"k{rng.randrange(keys)}", rng.choice(["add"] * 4 + ["pay"]))
        )
    return messages


def lines(messages) -> bytes:
    """The messages in the input format of the application."""
    return b"".join(b"%d %s %s\n" % (time, key.encode(), what.encode()) for time, key, what in messages)


def expected(messages):
    """The lines of each key in order. The end leaves no cart."""
    watermark, counts, left_at, of_key = -1, {}, {}, defaultdict(list)

    def leave(key):
        if key in left_at and left_at[key] <= watermark:
            of_key[key].append(f"{key} left {counts.pop(key)} {left_at.pop(key)}")

    for time, key, what in messages:
        watermark = max(watermark, time)
        leave(key)
        counts[key] = counts.get(key, 0) + 1
        if what == "pay":
            counts.pop(key)
            left_at.pop(key, None)
        else:
            left_at[key] = watermark + LEFT_AFTER
        of_key[key].append(f"{key} {time} {counts.get(key, 'paid')}")
    for key in of_key:
        leave(key)
    return dict(of_key)


def read(text: str):
    """The lines of each key, in the order of the output."""
    of_key = defaultdict(list)
    for line in text.splitlines():
        of_key[line.partition(" ")[0]].append(line)
    return dict(of_key)
