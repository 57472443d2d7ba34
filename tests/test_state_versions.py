"""States that a run has saved go on under newer code, which migrates them."""

import json
import sys

from tests.harness.clients import Consumer, send
from tests.harness.control import command
from tests.harness.orchestrator import Orchestrator

KEYS = 50

APP = """
import wallaroo as w

{definitions}


def key(line):
    return line.split()[0]


def place(words):
    return (w.tcp if ":" in words else w.file)(words, w.lines())


def show(text):
    # Takes so long that a replay of one round would be beyond the budget.
    sum(range(20_000))
    return text


def application_setup(args):
    source, sink = map(place, args)
    totals = w.source("lines", source).key_by(key, name="key").stateful(book, {state}, name="book")
    return w.application("totals", totals.map(show, name="show").sink(sink))
"""

OLD = """
class Total:
    def __init__(self):
        self.euros = 0


def book(line, total):
    key, euros = line.split()
    total.euros += int(euros)
    return f"{key} {total.euros} euros"
"""

NEW = """
class Total:
    def __init__(self):
        self.cents = 0


def migrate(old, version):
    assert version == 1
    new = Total()
    new.cents = 100 * old.euros
    return new


def book(line, total):
    key, euros = line.split()
    total.cents += 100 * int(euros)
    return f"{key} {total.cents} cents"
"""

OLD_APP = APP.format(definitions=OLD, state="Total")
NEW_APP = APP.format(definitions=NEW, state="w.state(Total, version=2, migrate=migrate)")


def run(folder, source, sink):
    """A run that saves states at once: its journal may hold nothing."""
    options = ["--state", folder / "state", "--replay-budget", "1ms"]
    return Orchestrator(folder / "totals.py", source, sink, workers=2, options=options)


def rounds(*amounts):
    """Return what books each amount for every key."""
    return "".join(f"key{number} {amount}\n" for amount in amounts for number in range(KEYS))


def of_each_key(lines):
    """Return the last that came of each key."""
    return dict(line.split(" ", 1) for line in lines)


def expected(shown):
    return {f"key{number}": shown for number in range(KEYS)}


def run_to_the_end(folder):
    """Runs what was added to the input, and returns the last output of each key."""
    source, sink = folder / "in.txt", folder / "out.txt"
    before = sink.stat().st_size if sink.exists() else 0
    with run(folder, source, sink) as application:
        assert application.wait() == 0, application.log()
        assert application.summary()["dead_letters"] == 0, application.log()
    return of_each_key(sink.read_text()[before:].splitlines())


def saved(folder):
    """The states that ``state export`` prints."""
    words = ("state", "export", folder / "state", "--python", sys.executable, "--app", folder / "totals.py")
    done = command(*words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["state"] for line in done.stdout.splitlines()]


def test_newer_code_goes_on_with_the_states_of_older_code(tmp_path):
    (tmp_path / "in.txt").write_text(rounds(*[1] * 40))
    (tmp_path / "totals.py").write_text(OLD_APP)
    assert run_to_the_end(tmp_path) == expected("40 euros")
    # Those that are not are made of the journal, by the newer code alone.
    assert any("euros" in state for state in saved(tmp_path))
    (tmp_path / "totals.py").write_text(NEW_APP)
    for euros in (80, 120):
        with open(tmp_path / "in.txt", "a") as more:
            more.write(rounds(*[1] * 40))
        assert run_to_the_end(tmp_path) == expected(f"{euros}00 cents")
        assert any("cents" in state for state in saved(tmp_path))


def booked(application, consumer, euros, shown):
    """Books euros of every key, and waits for what comes of it."""
    before = len(consumer.lines())
    send(application.address(), rounds(euros).encode())
    consumer.wait_count(before + KEYS)
    assert of_each_key(consumer.lines()[before:]) == expected(shown)


def swapped(application):
    return command("swap", "--app", "--control", application.control)


def test_a_swap_migrates_states(tmp_path):
    (tmp_path / "totals.py").write_text(OLD_APP)
    with Consumer() as consumer, run(tmp_path, "127.0.0.1:0", consumer.place) as application:
        booked(application, consumer, 3, "3 euros")
        (tmp_path / "totals.py").write_text(NEW_APP)
        done = swapped(application)
        assert done.returncode == 0, done.stderr
        booked(application, consumer, 2, "500 cents")
        application.stop()


def test_a_swap_to_code_that_is_older_than_the_states_is_undone(tmp_path):
    (tmp_path / "totals.py").write_text(NEW_APP)
    with Consumer() as consumer, run(tmp_path, "127.0.0.1:0", consumer.place) as application:
        booked(application, consumer, 5, "500 cents")
        (tmp_path / "totals.py").write_text(OLD_APP)
        done = swapped(application)
        assert done.returncode == 1
        assert "has version 2, and the application knows versions up to 1: run the newer code" in done.stderr
        booked(application, consumer, 1, "600 cents")
        application.stop()
