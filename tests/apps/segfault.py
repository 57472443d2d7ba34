"""Reads address 0."""

import ctypes

import numbered


def misbehave():
    ctypes.string_at(0)


def application_setup(args):
    return numbered.build(args, misbehave)
