"""What Python's logging writes says its level, however the application configures it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wallaroo

SOURCE = Path(wallaroo.__file__).parents[1]
LOG = """
log = logging.getLogger("app")
log.debug("d"); log.info("i"); log.warning("w"); log.error("e"); log.critical("c")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("x")
"""


def written(code, stream="stderr"):
    start = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from wallaroo.worker._log_levels import mark_levels\n"
    ran = subprocess.run([sys.executable, "-c", start + code + LOG], capture_output=True, text=True, check=True)
    return getattr(ran, stream).replace("\x1e", "^").splitlines()


@pytest.mark.parametrize("start", ["mark_levels(); import logging", "import logging; mark_levels()"])
def test_levels_are_marked_whenever_logging_is_imported(start):
    lines = written(start)
    assert lines[:4] == ["^Ww", "^Ee", "^Ec", "^Ex"]
    assert lines[4] == "^ETraceback (most recent call last):"
    assert lines[-1] == "^EZeroDivisionError: division by zero"


def test_what_the_application_configures_stays():
    lines = written("mark_levels(); import logging; logging.basicConfig(level=10, format='%(levelname)s: %(message)s')")
    assert lines[:5] == ["^DDEBUG: d", "^IINFO: i", "^WWARNING: w", "^EERROR: e", "^ECRITICAL: c"]


def test_handlers_of_standard_output_are_marked_and_others_are_not(tmp_path):
    configured = f"mark_levels(); import logging; logging.basicConfig(filename={str(tmp_path / 'log')!r});"
    assert written(configured) == []
    assert (tmp_path / "log").read_text().splitlines()[0] == "WARNING:app:w"
    configured = "mark_levels(); import logging; logging.basicConfig(stream=sys.stdout)"
    assert written(configured, "stdout")[0] == "^WWARNING:app:w"


def test_a_handler_that_fails_reports_it_as_logging_does():
    broken = "mark_levels(); import logging; logging.basicConfig(format='%(nothing)s')"
    assert "--- Logging error ---" in written(broken)


def test_a_worker_does_not_import_logging():
    start = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import wallaroo.worker.__main__\n"
    code = start + "print('logging' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
