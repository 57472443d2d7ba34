"""Word count beside a plain Python loop, TCP in to TCP out: ``python -m tests.bench.compare [--rounds N]``.

Three contenders take turns, so that whatever else the machine does meets all of them: the application's classes in a
plain loop without framework, sockets or output; ``wallaroo-orch`` with one worker; the same with two. Sending and
receiving is left to ``wallaroo-orch send`` and ``receive``, which take little of the cores. A round is measured from
before the first byte is sent until the last line has been received.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.harness.orchestrator import Orchestrator
from tests.harness.places import WORD_COUNT, orchestrator_command
from tests.harness.word_counts import application, check_in_order, text_lines, totals

PATIENCE = 600.0
WANTED = {"1 worker": 0.6, "2 workers": 1.15}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--plain-loop", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain_loop:
        print(plain_loop(Path(options.plain_loop).read_bytes().splitlines()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return compare(options.rounds, options.lines, Path(folder))


def compare(rounds: int, count: int, folder: Path) -> int:
    lines = text_lines(count)
    expected = totals(lines)
    words = sum(expected.values())
    text = folder / "text.txt"
    text.write_text("\n".join(lines) + "\n")
    contenders = {
        "plain loop": lambda: in_plain_loop(text),
        "1 worker": lambda: through_sockets(text, words, 1, folder, expected),
        "2 workers": lambda: through_sockets(text, words, 2, folder, expected),
    }
    rates = {name: [] for name in contenders}
    print(f"{count:,} lines, {words:,} words, words/s by round")
    for number in range(1, rounds + 1):
        for name, run in contenders.items():
            rates[name].append(words / run())
        print(f"  {number}: " + "  ".join(f"{name} {rates[name][-1]:>11,.0f}" for name in contenders), flush=True)
    plain = statistics.median(rates["plain loop"])
    print(f"median, plain loop: {plain:,.0f} words/s")
    good = True
    for name, wanted in WANTED.items():
        # Round by round, for the machine's mood changes from one to the next.
        ratio = statistics.median(ours / loop for ours, loop in zip(rates[name], rates["plain loop"]))
        good = good and ratio >= wanted
        print(f"median, {name}: {statistics.median(rates[name]):,.0f} words/s, {ratio:.2f} x plain (wanted: {wanted})")
    return 0 if good else 1


def in_plain_loop(text: Path) -> float:
    """Seconds of a plain loop, in a process of its own as a worker is."""
    command = [sys.executable, "-m", "tests.bench.compare", "--plain-loop", text]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def plain_loop(frames: "list[bytes]") -> float:
    """The application's classes in a loop; returns the seconds it took."""
    app = application()
    decode, split = app.Decoder().decode, app.Split().compute_multi
    partition, build = app.WordPartitionFunction().partition, app.WordTotalsBuilder().build
    count, encode = app.CountWord().compute, app.Encoder().encode
    states = {}
    written = []
    began = time.perf_counter()
    for frame in frames:
        for word in split(decode(frame)):
            key = partition(word)
            state = states.get(key)
            if state is None:
                state = states[key] = build()
            output, _ = count(word, state)
            written.append(encode(output))
    return time.perf_counter() - began


def through_sockets(text: Path, words: int, workers: int, folder: Path, expected) -> float:
    """Seconds from before the first byte sent to the last line received."""
    received = folder / "received.txt"
    tool = orchestrator_command()
    with open(received, "wb") as output:
        receive = [tool, "receive", "--listen", "127.0.0.1:0", "--count", str(words)]
        receiver = subprocess.Popen(receive, stdout=output, stderr=subprocess.PIPE, text=True)
        with receiver:
            place = receiver.stderr.readline().split()[-1]
            with Orchestrator(WORD_COUNT, "--in", "127.0.0.1:0", "--out", place, workers=workers) as run:
                send = [tool, "send", "--to", "{}:{}".format(*run.address()), text]
                began = time.perf_counter()
                subprocess.run(send, check=True, capture_output=True)
                receiver.wait(PATIENCE)
                seconds = time.perf_counter() - began
                run.stop()
    assert receiver.returncode == 0
    check_in_order(received.read_text().splitlines(), expected)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
