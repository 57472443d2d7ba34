"""Its ``application_setup`` raises."""


def application_setup(args):
    return {}["the key"]
