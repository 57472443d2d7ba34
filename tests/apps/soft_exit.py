"""Asks Python to exit, which raises an exception like any other."""

import sys

import numbered


def misbehave():
    sys.exit(7)


def application_setup(args):
    return numbered.build(args, misbehave)
