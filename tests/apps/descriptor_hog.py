"""Opens files until the limit is reached."""

import os

import numbered


def misbehave():
    files = []
    try:
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for file in files:
            os.close(file)


def application_setup(args):
    return numbered.build(args, misbehave)
