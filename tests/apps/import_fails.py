"""Cannot be imported."""


def lay_foundations():
    raise LookupError("the foundations are missing")


lay_foundations()
