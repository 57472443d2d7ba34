"""Waits until somebody writes to the named pipe ``WAITS_FOR``, as a call to a service that is slow for one key does."""

import os

import numbered


def misbehave():
    # Opening it blocks until its other end is opened.
    with open(os.environ["WAITS_FOR"]):
        pass


def application_setup(args):
    return numbered.build(args, misbehave)
