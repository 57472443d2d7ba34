"""Finds the Pythons of this machine and gives each an environment with the wheel and the test tools."""

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
    """A Python: ``name`` is its implementation and version, as ``cpython3.11``."""

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
    """Those of the promised interpreters that are not on this machine."""
    names = {interpreter.name for interpreter in found}
    return [name for name in WANTED if name not in names]


def environment(interpreter: Interpreter) -> Path:
    """The Python of an environment that has the wheel and the test tools. Made when it is not there or out of date."""
    return _environment(interpreter.name, interpreter.path, [REQUIREMENTS])


def environment_with(name: str, requirements: Path) -> Path:
    """The same, of this interpreter and with what an application needs besides."""
    return _environment(name, sys.executable, [REQUIREMENTS, requirements])


def environment_for(name: str, requirements: Path, interpreter: str = sys.executable) -> Path:
    """The Python of an environment that has the wheel, what that needs, and what an application does; no test tools."""
    return _environment(name, interpreter, [WHEEL_REQUIREMENTS, requirements])


def _environment(name: str, interpreter: str, requirements: "list[Path]") -> Path:
    folder = TARGET / "test-envs" / name
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Several test runs may want the same environment.
    with open(folder.parent / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = b"".join(path.read_bytes() for path in requirements) + interpreter.encode()
        if _changed(folder, "tools", content):
            # Some distributions' Pythons come without pip; the one of the calling environment serves them all.
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
    # A pyenv shim is there for every version and fails for those not chosen.
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
