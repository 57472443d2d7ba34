"""``loads_at_second_try.py FOLDER FROM TO``: like ``files.py``, but the second process that loads it fails once."""

import os
from pathlib import Path

import files


def application_setup(args):
    folder, source, sink = args
    for number in range(1, 100):
        try:
            os.close(os.open(Path(folder) / str(number), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        if number == 2:
            raise ConnectionError("the second one fails")
        break
    return files.application_setup([source, sink])
