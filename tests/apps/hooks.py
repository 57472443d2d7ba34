"""Notes in a file which hooks each worker runs. With a second argument one of them fails: the name of that hook."""

import os
import sys

import wallaroo

NOTES, FAILING = sys.argv[1], sys.argv[2:]


def note(hook):
    with open(NOTES, "a") as notes:
        notes.write(f"{hook} {os.getpid()}\n")
    if hook in FAILING:
        raise LookupError(f"{hook} finds nothing")


class Shout:
    def setup(self):
        note("setup")

    def teardown(self):
        note("teardown")

    def __call__(self, line):
        return line.upper()


def application_setup(args):
    lines = wallaroo.source("lines", wallaroo.tcp("127.0.0.1:0", wallaroo.lines()))
    shout = wallaroo.computation(name="shout")(Shout())
    return wallaroo.build_application("hooks", lines.to(shout).to_sink(wallaroo.stdout(wallaroo.lines())))


@wallaroo.on_start
def load():
    note("on_start")


@wallaroo.on_stop
def close():
    note("on_stop")
