"""Moves its worker to another process group, as libraries for job control do, and loops."""

import os

import numbered


def misbehave():
    # A group of its own once more would be the same one: this one is its parent's.
    os.setpgid(0, os.getpgid(os.getppid()))
    while True:
        pass


def application_setup(args):
    return numbered.build(args, misbehave)
