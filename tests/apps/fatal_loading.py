"""Its states hang or kill the worker when they are unpickled (``--loading``)."""

import os
import time

import numbered

HARM = {"hang": lambda: time.sleep(3600), "crash": os.abort}


class Numbers(numbered.Numbers):
    loading = None

    def __setstate__(self, state):
        HARM[self.loading]()


def application_setup(args):
    Numbers.loading = args[args.index("--loading") + 1]
    return numbered.build(args, state=Numbers)
