"""Its state holds an object that cannot be pickled."""

import threading

import numbered


class Numbers(numbered.Numbers):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def application_setup(args):
    return numbered.build(args, state=Numbers)
