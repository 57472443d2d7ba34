"""Prints a flood of lines on both streams."""

import sys

import numbered

LINES = 100_000


def misbehave():
    print("flood\n" * LINES, end="")
    print("flood\n" * LINES, end="", file=sys.stderr)


def application_setup(args):
    return numbered.build(args, misbehave)
