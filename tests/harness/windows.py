"""The expected contents of windows, computed message by message, for streams of ``(time, key, number)``."""

import random
from collections import defaultdict


def stream(count, seed, disorder=30, late=0.02):
    """Messages whose time rises by two on average, out of order by up to ``disorder``, sometimes by much more."""
    rng = random.Random(seed)
    clock = 0
    messages = []
    for number in range(count):
        clock += rng.randrange(5)
        behind = rng.randrange(400) if rng.random() < late else rng.randrange(disorder)
        messages.append((clock - behind, rng.choice("abcdefgh"), number))
    return messages


def lines(messages) -> bytes:
    """The messages in the input format of the application ``windows.py``."""
    return b"".join(b"%d %s %d\n" % (time, key.encode(), number) for time, key, number in messages)


def ranges(messages, length, slide, delay):
    """The windows of each key in order, and the numbers of the late messages."""
    watermark, late, windows = None, [], defaultdict(list)
    for time, key, number in messages:
        watermark = time if watermark is None else max(watermark, time)
        starts = range((time - length) // slide * slide + slide, time + 1, slide)
        in_time = [start for start in starts if start + length + delay > watermark]
        if not in_time:
            late.append(number)
        for start in in_time:
            windows[start, key].append(number)
    of_key = defaultdict(list)
    for start, key in sorted(windows):
        of_key[key].append(sorted(windows[start, key]))
    return dict(of_key), late


def sessions(messages, gap, delay):
    """The sessions of each key in order, and the numbers of the late messages."""
    watermark, late, open_sessions, of_key = None, [], defaultdict(list), defaultdict(list)
    for time, key, number in messages:
        watermark = time if watermark is None else max(watermark, time)
        joined = []
        for session in list(open_sessions[key]):
            if session[-1][0] + gap + delay <= watermark:
                open_sessions[key].remove(session)
                of_key[key].append(session)
            elif any(abs(time - other) < gap for other, _ in session):
                open_sessions[key].remove(session)
                joined += session
        if not joined and time + gap + delay <= watermark:
            late.append(number)
        else:
            open_sessions[key].append(sorted([*joined, (time, number)]))
    for key, rest in open_sessions.items():
        of_key[key] += rest
    in_order = {key: sorted(found, key=lambda session: session[-1][0]) for key, found in of_key.items()}
    return {
        key: [sorted(number for _, number in session) for session in found] for key, found in in_order.items()
    }, late


def counts(messages, count):
    """The windows of each key in order."""
    of_key = defaultdict(list)
    for _, key, number in messages:
        if not of_key[key] or len(of_key[key][-1]) == count:
            of_key[key].append([])
        of_key[key][-1].append(number)
    return dict(of_key)


def read(text: str):
    """The windows of each key in the order of the output."""
    of_key = defaultdict(list)
    for line in text.splitlines():
        key, _, numbers = line.partition(" ")
        of_key[key].append([int(number) for number in numbers.split(",")])
    return dict(of_key)
