"""Finds the Pythons of this machine and makes an environment for each with the wheel and the test tools."""

import fcntl
import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.harness.places import REQUIREMENTS, TARGET, WHEEL_REQUIREMENTS, wheel

WANTED = ["cpython3.9", "cpython3.10", "cpython3.11", "cpython3.12", "cpython3.13", "cpython3.14", "pypy3.9"]

_ASK = "import sys; print(sys.implementation.name + '%d.%d' % sys.version_info[:2]); import venv"


@dataclass(frozen=True)
class Interpreter:
    """A Python: ``name`` is its implementation and version, for example ``cpython3.11``."""

    name: str
    path: str


def discover() -> "list[Interpreter]":
    """One interpreter of each implementation and version from 3.9 on, this one first."""
    found = {}
    for path in [sys.executable, *_candidates()]:
        name = _ask(path)
        if name is not None and name not in found:
            found[name] = Interpreter(name, str(path))
    return list(found.values())


def missing(found: "list[Interpreter]") -> "list[str]":
    """The supported interpreters that are not on this machine."""
    names = {interpreter.name for interpreter in found}
    return [name for name in WANTED if name not in names]


def environment(interpreter: Interpreter) -> Path:
    """The Python of an environment with the wheel and the test tools. It is made if it is missing or out of date."""
    return _environment(interpreter.name, interpreter.path, [REQUIREMENTS])


def environment_with(name: str, requirements: Path) -> Path:
    """The same for this interpreter, with the requirements of an application in addition."""
    return _environment(name, sys.executable, [REQUIREMENTS, requirements])


def environment_for(name: str, requirements: Path, interpreter: str = sys.executable) -> Path:
    """The Python of an environment with the wheel, its requirements and those of an application; no test tools."""
    return _environment(name, interpreter, [WHEEL_REQUIREMENTS, requirements])


def _environment(name: str, interpreter: str, requirements: "list[Path]") -> Path:
    folder = TARGET / "test-envs" / name
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Several test runs may need the same environment.
    with open(folder.parent / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = b"".join(path.read_bytes() for path in requirements) + interpreter.encode()
        if _changed(folder, "tools", content):
            # Some distributions' Pythons have no pip. The calling environment's pip works for all of them.
            subprocess.run([interpreter, "-m", "venv", "--clear", "--without-pip", folder], check=True)
            _install(python, *(word for path in requirements for word in ("-r", path)))
            _settle(folder, "tools", content)
        if _changed(folder, "wheel", wheel().read_bytes()):
            _install(python, "--force-reinstall", "--no-deps", wheel())
            _settle(folder, "wheel", wheel().read_bytes())
    return python


def empty_environment(folder: Path, interpreter: str = sys.executable) -> Path:
    """The Python of a new environment with nothing but pip."""
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


def _candidates():
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for minor in range(9, 15):
        # The newest patch release first.
        yield from sorted(pyenv.glob(f"3.{minor}.*/bin/python"), key=_patch, reverse=True)
        yield from (folder / f"python3.{minor}" for folder in folders)
    yield from sorted(pyenv.glob("pypy3*/bin/python"))
    yield from (folder / "pypy3" for folder in folders)


def _patch(path: Path) -> int:
    digits = path.parts[-3].rsplit(".", 1)[-1]
    return int(digits) if digits.isdigit() else -1


def _ask(path) -> "str | None":
    if not os.access(path, os.X_OK):
        return None
    # pyenv has a shim for every version; shims of versions that are not selected fail.
    answer = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, timeout=60, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def _install(python: Path, *what) -> None:
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *what], check=True)


def _changed(folder: Path, what: str, content: bytes) -> bool:
    stamp = folder / f".{what}"
    return not stamp.exists() or stamp.read_text() != hashlib.sha256(content).hexdigest()


def _settle(folder: Path, what: str, content: bytes) -> None:
    (folder / f".{what}").write_text(hashlib.sha256(content).hexdigest())
