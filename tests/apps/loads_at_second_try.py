"""``loads_at_second_try.py FOLDER FROM TO [hang]``: like ``files.py``, but the second process fails or hangs in it."""

import os
import time
from pathlib import Path

import files


def application_setup(args):
    folder, source, sink, *hang = args
    for number in range(1, 100):
        try:
            os.close(os.open(Path(folder) / str(number), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        if number == 2 and hang:
            time.sleep(3600)
        if number == 2:
            raise ConnectionError("the second one fails")
        break
    return files.application_setup([source, sink])
