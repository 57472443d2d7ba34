"""Is slow for one key: its first bad message takes 1.5 s, others until the named pipe ``WAITS_FOR`` is written to."""

import time

import numbered
import waits

CALLS = [lambda: time.sleep(1.5)]


def misbehave():
    (CALLS.pop() if CALLS else waits.misbehave)()


def application_setup(args):
    return numbered.build(args, misbehave)
