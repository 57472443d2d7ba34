"""Calls into C and holds the interpreter's lock: no other Python thread can run, nor a signal handler."""

import re

import numbered


def misbehave():
    # Each further letter doubles the time: this takes years.
    re.match("(a+)+$", "a" * 64 + "b")


def application_setup(args):
    return numbered.build(args, misbehave)
