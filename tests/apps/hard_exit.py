"""Exits without running Python's exit handlers."""

import os

import numbered


def misbehave():
    os._exit(7)


def application_setup(args):
    return numbered.build(args, misbehave)
