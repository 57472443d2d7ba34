"""Raises."""

import numbered


def misbehave():
    raise ValueError("a bad message")


def application_setup(args):
    return numbered.build(args, misbehave)
