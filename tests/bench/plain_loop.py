"""The per-core limit: an application's classes in a plain Python loop, without a framework and without sockets.

    python -m tests.bench.plain_loop APP CORPUS --repeat N --rounds N

Prints one JSON object per round, as bench-load does.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

from wallaroo.worker._load import load

from tests.bench.chain import Chain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--repeat", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--keep-newline", action="store_true")
    options = parser.parse_args()
    application = load(options.app, ["--in", "127.0.0.1:1", "--out", "127.0.0.1:2"]).application
    run = Chain(application).whole()
    messages = options.corpus.read_bytes().splitlines(keepends=options.keep_newline)
    states: dict[Any, Any] = {}
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()
    for _ in range(options.rounds):
        outputs = 0
        began, cpu_began = time.monotonic_ns(), time.process_time_ns()
        for _ in range(options.repeat):
            written: list[Any] = []
            run(messages, written.append, states)
            outputs += len(written)
        ended, cpu = time.monotonic_ns(), time.process_time_ns() - cpu_began
        count = len(messages) * options.repeat
        print(
            json.dumps({"began": began, "ended": ended, "messages": count, "outputs": outputs, "cpu": cpu}), flush=True
        )


if __name__ == "__main__":
    main()
