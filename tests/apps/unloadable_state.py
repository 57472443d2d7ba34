"""Its state can be pickled but not unpickled."""

import numbered


class Numbers(numbered.Numbers):
    def __setstate__(self, state):
        raise RuntimeError("this state cannot be loaded")


def application_setup(args):
    return numbered.build(args, state=Numbers)
