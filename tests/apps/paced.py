"""Takes a millisecond a message, in the step that ``--where`` names."""

import time

import numbered

WHERE = {"stateless": "Watch", "state": "Number"}


def paced(step):
    class Paced(step):
        def compute(self, *data):
            time.sleep(0.001)
            return super().compute(*data)

    return Paced


def application_setup(args):
    name = WHERE[args[args.index("--where") + 1]]
    setattr(numbered, name, paced(getattr(numbered, name)))
    return numbered.build(args)
