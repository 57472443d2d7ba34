"""Its steps hang for every message while the file ``SERVICE_AWAY`` exists, as calls to a database that is away do."""

import os
import time

import numbered


class Watch(numbered.Watch):
    def compute(self, data):
        call_service()
        return data


class Number(numbered.Number):
    def compute(self, data, state):
        call_service()
        return super().compute(data, state)


def call_service():
    while os.path.exists(os.environ["SERVICE_AWAY"]):
        time.sleep(0.01)


def application_setup(args):
    if args[args.index("--where") + 1] == "stateless":
        numbered.Watch = Watch
    else:
        numbered.Number = Number
    return numbered.build(args)
