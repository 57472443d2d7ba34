"""Aborts the process."""

import os

import numbered


def misbehave():
    os.abort()


def application_setup(args):
    return numbered.build(args, misbehave)
