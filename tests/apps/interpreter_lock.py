"""Calls into C and holds the interpreter lock: no other Python thread and no signal handler can run."""

import re

import numbered


def misbehave():
    # Each additional letter doubles the time: this takes years.
    re.match("(a+)+$", "a" * 64 + "b")


def application_setup(args):
    return numbered.build(args, misbehave)
