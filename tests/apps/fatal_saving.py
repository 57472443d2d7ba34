"""Its state of the key ``k7`` hangs or kills the worker when it is pickled (``--saving``)."""

import os
import time

import numbered

HARM = {"hang": lambda: time.sleep(3600), "crash": os.abort, "slow": lambda: None}


class Numbers(numbered.Numbers):
    saving = None

    def __init__(self):
        super().__init__()
        self.is_fatal = False

    def __getstate__(self):
        if self.saving == "slow":
            time.sleep(0.05)
        if self.is_fatal:
            HARM[self.saving]()
        return self.__dict__


class Number(numbered.Number):
    def compute(self, data, state):
        state.is_fatal = data.startswith("k7 ")
        return super().compute(data, state)


def application_setup(args):
    Numbers.saving = args[args.index("--saving") + 1]
    numbered.Number = Number
    return numbered.build(args, state=Numbers)
