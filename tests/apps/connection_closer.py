"""Closes all descriptors but the standard ones, as programs do that become a daemon: those of the worker too."""

import os
import resource

import numbered


def close():
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def application_setup(args):
    return numbered.build(args, close)
