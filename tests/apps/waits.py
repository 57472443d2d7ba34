"""Waits until the file that ``WAITS_FOR`` names is there, as a call to a service that is slow for one key does."""

import os
import time

import numbered


def misbehave():
    while not os.path.exists(os.environ["WAITS_FOR"]):
        time.sleep(0.005)


def application_setup(args):
    return numbered.build(args, misbehave)
