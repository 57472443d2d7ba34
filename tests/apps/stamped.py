"""``stamped.py IN OUT [HOURS]``: gathers lines ``LETTER TIME`` in windows of ten seconds.

TIME is in seconds since the Unix epoch. HOURS is ``max_ahead``; ``any`` has no limit. IN and OUT are HOST:PORT.
"""

from datetime import timedelta

import wallaroo


def when(line):
    return float(line.split()[1])


def application_setup(args):
    listen, connect, *limit = args
    options = {}
    if limit:
        options["max_ahead"] = None if limit == ["any"] else timedelta(hours=int(limit[0]))
    source = wallaroo.tcp(listen, wallaroo.lines(), event_time=when, **options)
    windows = (
        wallaroo.source("lines", source).key_by(lambda line: "all").window(wallaroo.tumbling(wallaroo.seconds(10)))
    )
    letters = windows.aggregate(wallaroo.collect_list()).flat_map(lambda window: window.value).map(lambda line: line[0])
    return wallaroo.application("Stamped", letters.sink(wallaroo.tcp(connect, wallaroo.lines())))
