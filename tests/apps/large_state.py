"""Its state of a key holds everything that came for the key: more than any message may be."""

import numbered


class Numbers(numbered.Numbers):
    def __init__(self):
        super().__init__()
        self.seen = bytearray()


class Number(numbered.Number):
    def compute(self, data, state):
        state.seen += bytes(1 << 16)
        return super().compute(data, state)


def application_setup(args):
    numbered.Number = Number
    return numbered.build(args, state=Numbers)
