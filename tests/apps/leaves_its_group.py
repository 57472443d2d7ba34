"""Moves its worker to another process group, as libraries for job control do, and loops."""

import os

import numbered


def misbehave():
    # The worker already leads its own group, so this joins the group of its parent.
    os.setpgid(0, os.getpgid(os.getppid()))
    while True:
        pass


def application_setup(args):
    return numbered.build(args, misbehave)
