"""``make demo``: word count of text.txt over real sockets, with two workers.

Starts a consumer, the orchestrator and a sender, shows their progress, checks every count, and shows the most frequent
words and the rate.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from word_count import Split

FOLDER = pathlib.Path(__file__).resolve().parent
ORCHESTRATOR = str(pathlib.Path(sys.executable).parent / "wallaroo-orch")
SHOWN = 15
PATIENCE = 120.0


class Consumer(threading.Thread):
    """Receives the application's output on the first connection to a free port."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = "{}:{}".format(*self._listener.getsockname())
        self._more = threading.Condition()
        self._chunks: list[bytes] = []
        self.words = 0
        self.began = self.ended = 0.0
        self.start()

    def run(self) -> None:
        connection, _ = self._listener.accept()
        while True:
            chunk = connection.recv(1 << 20)
            if not chunk:
                return
            with self._more:
                self.ended = time.monotonic()
                self.began = self.began or self.ended
                self._chunks.append(chunk)
                self.words += chunk.count(b"\n")
                self._more.notify()

    def wait_count(self, words: int, seconds: float) -> bool:
        """Waits until ``words`` words have come; returns False after ``seconds``."""
        with self._more:
            return self._more.wait_for(lambda: self.words >= words, seconds)

    def counts(self) -> collections.Counter[str]:
        """Returns the last count of each word."""
        last: collections.Counter[str] = collections.Counter()
        for line in b"".join(self._chunks).decode().splitlines():
            word, _, count = line.rpartition(" => ")
            last[word] = int(count)
        return last


class Orchestrator:
    """Runs ``wallaroo-orch run word_count.py`` and prints its log."""

    def __init__(self, workers: int, out: str) -> None:
        command = [ORCHESTRATOR, "run", "--workers", str(workers), "--python", sys.executable]
        command += [str(FOLDER / "word_count.py"), "--in", "127.0.0.1:0", "--out", out]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.place = ""
        self._settled = threading.Event()
        self._log = threading.Thread(target=self._show_log, daemon=True)
        self._log.start()

    def _show_log(self) -> None:
        assert self.process.stderr is not None, "a pipe was asked for"
        for line in self.process.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            listening = re.search(r"listening on (\S+)", line)
            if listening:
                self.place = listening[1]
                self._settled.set()
        self._settled.set()

    def wait_until_listening(self) -> None:
        self._settled.wait(PATIENCE)
        if not self.place:
            sys.exit("error: the orchestrator did not start; its messages are above")

    def stop(self) -> int:
        """Sends SIGINT, as Ctrl-C does: the run finishes what it accepted and ends."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE)
        self._log.join(PATIENCE)
        return code


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=600, help="times the text is sent")
    options = parser.parse_args()
    text = (FOLDER / "text.txt").read_text()
    words = Split().compute_multi(text.rstrip("\n"))
    expected = collections.Counter({word: count * options.repeat for word, count in collections.Counter(words).items()})
    consumer = Consumer()
    orchestrator = Orchestrator(options.workers, consumer.place)
    orchestrator.wait_until_listening()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lines:
        lines.write(text * options.repeat)
        lines.flush()
        print(f"\nsending {FOLDER.name}/text.txt {options.repeat} times, one message a line", flush=True)
        sender = subprocess.Popen([ORCHESTRATOR, "send", "--to", orchestrator.place, lines.name])
        show_progress(consumer, orchestrator, len(words) * options.repeat)
        sender.wait(PATIENCE)
    code = orchestrator.stop()
    consumer.join(PATIENCE)
    if code != 0:
        sys.exit(code)
    show_result(consumer, expected)


def show_progress(consumer: Consumer, orchestrator: Orchestrator, words: int) -> None:
    """Prints the number of words counted until all have come."""
    line_end = "\r" if sys.stdout.isatty() else "\n"
    while not consumer.wait_count(words, 0.5):
        if orchestrator.process.poll() is not None:
            sys.exit("error: the orchestrator ended too early; its messages are above")
        print(f"  {consumer.words:>10,} words counted", end=line_end, flush=True)


def show_result(consumer: Consumer, expected: collections.Counter[str]) -> None:
    counts = consumer.counts()
    seconds = consumer.ended - consumer.began
    print(f"\nthe {SHOWN} most frequent of {len(counts):,} words")
    for word, count in counts.most_common(SHOWN):
        print(f"  {count:>10,}  {word or '(the empty word)'}")
    if counts != expected:
        sys.exit("error: the counts are not those of the text")
    print("\nevery word was counted exactly as often as it occurs")
    print(f"{consumer.words:,} words in {seconds:.2f} s: {consumer.words / seconds:,.0f} words/s")


if __name__ == "__main__":
    main()
