"""``python -m wallaroo._connector --node N --socket NAME --application APP [--code DIR] -- ARGS...``.

``wallaroo-orch`` starts it. ``N`` is the node of the source or sink, ``NAME`` the abstract socket at which the
orchestrator listens, ``DIR`` where the code of the edition is kept. The process ends with 0 when it is done, with 3 if
the application cannot be loaded, with 75 if nothing is read any more when it comes, and with 1 after an exception,
whose traceback is on standard error.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from typing import Any, NoReturn

from wallaroo._connector._sink import SinkRun
from wallaroo._connector._source import SourceRun
from wallaroo._io.connectors import Sink, Source
from wallaroo.worker._failures import user_traceback
from wallaroo.worker._load import LoadError, describe
from wallaroo.worker._log_levels import mark_levels, write_error

_FAILED = 1
_REFUSED = 3


def main() -> NoReturn:
    """Run the connector, then leave without waiting for threads that user code started."""
    options, args = _options(sys.argv[1:])
    # Ctrl-C reaches the whole terminal's group; the orchestrator says when reading and writing end.
    signal.signal(signal.SIGINT, _go_on)
    faulthandler.enable()
    mark_levels()
    code = _run(options, args)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    end = words.index("--") if "--" in words else len(words)
    options = dict(zip(words[0:end:2], words[1:end:2]))
    if end % 2 or not {"--node", "--socket", "--application"} <= options.keys():
        usage = "python -m wallaroo._connector --node N --socket NAME --application APP [--code DIR] -- ARGS..."
        sys.exit(f"usage: {usage}, started by wallaroo-orch")
    return options, words[end + 1 :]


def _go_on(*_: object) -> None:
    """Do nothing about a signal."""


def _run(options: dict[str, str], args: list[str]) -> int:
    try:
        application = describe(options["--application"], args, options.get("--code"))
    except LoadError as error:
        refused = error.refused
        write_error("\n".join(filter(None, (refused.message, refused.hint, refused.traceback))))
        return _REFUSED
    node: Any = application.nodes[int(options["--node"])]
    address = "\0" + options["--socket"]
    config = node.source if node.kind == "source" else node.sink
    connector = config.connector
    try:
        if isinstance(connector, Source):
            SourceRun(config, address).run()
        elif isinstance(connector, Sink):
            SinkRun(config, address).run()
    except BaseException as error:  # noqa: BLE001 - the user's
        write_error(user_traceback(error) or repr(error))
        return _FAILED
    return 0


if __name__ == "__main__":
    main()
