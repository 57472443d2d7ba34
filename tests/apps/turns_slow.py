"""Takes microseconds a message, until a message says ``bad``: from then on 20 milliseconds."""

import time

import numbered

slow = False


def misbehave():
    global slow
    slow = True


class Watch(numbered.Watch):
    def compute(self, data):
        if slow:
            time.sleep(0.02)
        return super().compute(data)


class Number(numbered.Number):
    def compute(self, data, state):
        if slow:
            time.sleep(0.02)
        return super().compute(data, state)


def application_setup(args):
    numbered.Watch, numbered.Number = Watch, Number
    return numbered.build(args, misbehave)
