"""Recurses: until Python's own limit with ``--limit python``, until the stack is full with ``--limit none``."""

import sys

import numbered


def misbehave():
    misbehave_again()


def misbehave_again():
    # Recurses through C: since Python 3.11, recursion in Python code alone does not use the C stack.
    return sorted([0, 1], key=lambda _: misbehave_again())


def application_setup(args):
    if "none" in args:
        sys.setrecursionlimit(10**9)
    return numbered.build(args, misbehave)
