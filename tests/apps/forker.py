"""Leaves a child that never ends, or with ``--return`` one that continues as if it were the worker."""

import os
import signal

import numbered


def fork():
    if os.fork() == 0:
        while True:
            signal.pause()


def fork_and_return():
    os.fork()


def application_setup(args):
    return numbered.build(args, fork_and_return if "--return" in args else fork)
