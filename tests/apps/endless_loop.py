"""Loops in Python."""

import numbered


def misbehave():
    while True:
        pass


def application_setup(args):
    return numbered.build(args, misbehave)
