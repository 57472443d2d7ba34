"""Takes longer than any step timeout."""

import time

import numbered


def misbehave():
    time.sleep(3600)


def application_setup(args):
    return numbered.build(args, misbehave)
