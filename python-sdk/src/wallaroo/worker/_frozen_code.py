"""Frozen code: all workers of an edition run the application's modules as the first of them imported them.

The orchestrator gives each edition a folder of its own, empty at first. When a worker imports a module that lies under
the application's folder, the module's source is copied there, under the same relative path. From then on every worker
of the edition imports the copy, also if the file was changed, half written or deleted meanwhile. ``__file__`` and
tracebacks name the original file and show the lines of the copy.

- The first copy wins. It is linked into place when it is complete, so all workers run the same bytes.
- Only source that compiles is copied: an import that met a half-written file may succeed at the next attempt.
- That a module is not there is remembered too: a file added later neither takes the place of an installed module, nor
  is found by an optional import. A process looks again once the folder has changed since it looked for that module,
  because it may have written the module itself.
- Byte code is kept beside the copies, by Python's own rules.
- Not frozen: the standard library, installed packages, extension modules, and whatever is read in other ways than by
  an import through ``sys.path``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from threading import get_ident
from types import CodeType, ModuleType
from typing import Any

import wallaroo
from wallaroo.worker._log_levels import MARK
from wallaroo.worker._when_imported import when_imported

_INSTALLED = frozenset(["site-packages", "dist-packages"])
_ABSENT, _NAMESPACE = ".absent-", ".namespace-"
"""Beginnings of the names of empty files among the copies. No module has a name that begins with a dot."""

_frozen: dict[str, _Loader] = {}
"""Loaders of modules that were loaded from their copies, by the path of the original."""


class FrozenCode:
    """The code of one edition.

    Args:
        copies: Folder of the edition's copies. The orchestrator owns it.
        root: The application's folder.
    """

    def __init__(self, copies: str, root: str) -> None:
        self._copies = os.path.abspath(copies)
        self._root = os.path.abspath(root)
        self._real_root = os.path.realpath(root)
        candidates = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
        candidates += [os.path.dirname(module.__file__ or "") for module in (os, wallaroo)]
        # Only what lies below the application's folder, such as a virtual environment: the application itself may
        # lie below a prefix, for example in /usr/src.
        below = {os.path.realpath(folder) for folder in candidates}
        self._installed = [folder for folder in below if _relative(folder, self._real_root)]

    def install(self) -> None:
        """Freeze what is imported through ``sys.path`` from now on."""
        sys.path_hooks.insert(0, self._finder)
        for folder in list(sys.path_importer_cache):
            if self._copies_of(folder) is not None:
                del sys.path_importer_cache[folder]
        when_imported("linecache", _show_copies)

    def loader(self, name: str, path: str) -> SourceFileLoader | None:
        """Return the loader of a source file; ``None`` if there is neither the file nor a copy."""
        folder, file = os.path.split(path)
        copies = self._copies_of(folder)
        assert copies is not None, "the file is in the application's folder"
        copy = os.path.join(copies, file)
        if not os.path.isfile(copy) and not os.path.isfile(path):
            return None
        return _Loader(name, path, copy)

    def _finder(self, folder: str) -> FileFinder:
        """Return the finder of a folder: a hook of ``sys.path_hooks``."""
        copies = self._copies_of(folder)
        # The folder may have been deleted. A file may be a zip archive.
        if copies is None or os.path.isfile(folder):
            raise ImportError("not frozen", path=folder)
        # An edition that has ended has no folder any more, and gets none again.
        if os.path.isdir(self._copies):
            with contextlib.suppress(OSError):  # The first copy shows why.
                os.makedirs(copies, exist_ok=True)
        return _Finder(folder, copies)

    def _copies_of(self, folder: str) -> str | None:
        """Return the folder of the copies of a folder's modules; ``None`` if they are not frozen."""
        real = os.path.realpath(folder)
        relative = _relative(real, self._real_root)
        if relative is None:
            relative = _relative(os.path.abspath(folder), self._root)
        if relative is None or not _INSTALLED.isdisjoint(relative.split(os.sep)):
            return None
        if any(_relative(real, installed) is not None for installed in self._installed):
            return None
        return os.path.join(self._copies, relative) if relative else self._copies


def _relative(path: str, root: str) -> str | None:
    """Return the path of ``path`` from ``root``, empty if they are the same; ``None`` if it is not below."""
    if path == root:
        return ""
    start = root if root.endswith(os.sep) else root + os.sep
    return path[len(start) :] if path.startswith(start) else None


class _Finder(FileFinder):
    """Finds the modules in one folder: those with copies first, then those on disk.

    Args:
        path: The folder.
        copies: The folder of the copies of its modules.
    """

    def __init__(self, path: str, copies: str) -> None:
        super().__init__(
            path,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (SourceFileLoader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )
        self._copies = copies
        # Modules that are not in the folder, with the folder's time when this process first looked for them.
        self._absent: dict[str, int | None] = dict.fromkeys(_marked(copies, _ABSENT))

    def invalidate_caches(self) -> None:
        """Look on disk again for the modules that were not there."""
        super().invalidate_caches()
        looked_for = [name for name, time in self._absent.items() if time is not None]
        self._absent.update(dict.fromkeys(looked_for, -1))

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        name = fullname.rpartition(".")[2]
        if self._is_absent(name):
            return None
        spec = None if self._is_extension(name) else self._find_copy(fullname, name)
        return spec or self._find_on_disk(fullname, name, target)

    def _is_absent(self, name: str) -> bool:
        if name not in self._absent:
            return False
        now = _changed(self.path)
        looked = self._absent[name]
        if looked is None:
            self._absent[name] = now
        return looked in (None, now)

    def _is_extension(self, name: str) -> bool:
        # Interpreters share the copies, and each has extension modules of its own. So this does not depend on which
        # interpreter was first.
        stem = os.path.join(self.path, name)
        return any(os.path.isfile(stem + suffix) for suffix in EXTENSION_SUFFIXES)

    def _find_copy(self, fullname: str, name: str) -> ModuleSpec | None:
        for file in (os.path.join(name, "__init__.py"), f"{name}.py"):
            copy = os.path.join(self._copies, file)
            if os.path.isfile(copy):
                return _spec(fullname, _Loader(fullname, os.path.join(self.path, file), copy))
        if not os.path.exists(os.path.join(self._copies, _NAMESPACE + name)):
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [os.path.join(self.path, name)]
        return spec

    def _find_on_disk(self, fullname: str, name: str, target: ModuleType | None) -> ModuleSpec | None:
        spec = super().find_spec(fullname, target)
        if spec is None:
            if name not in self._absent:
                _mark(self._copies, _ABSENT + name)
            self._absent[name] = _changed(self.path)
            return None
        if name not in self._absent and os.path.exists(os.path.join(self._copies, _ABSENT + name)):
            # Another worker looked for it before it was written.
            self._absent[name] = _changed(self.path)
            return None
        if spec.loader is None:
            _mark(self._copies, _NAMESPACE + name)
            return spec
        if type(spec.loader) is not SourceFileLoader:
            return spec
        path = spec.loader.path
        return _spec(fullname, _Loader(fullname, path, os.path.join(self._copies, os.path.relpath(path, self.path))))


def _spec(name: str, loader: _Loader) -> ModuleSpec | None:
    return importlib.util.spec_from_file_location(name, loader.path, loader=loader)


def _changed(folder: str) -> int:
    """Return when a folder was changed, in nanoseconds; 0 if it does not exist."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _marked(copies: str, mark: str) -> list[str]:
    try:
        return [file[len(mark) :] for file in os.listdir(copies) if file.startswith(mark)]
    except OSError:
        return []


def _mark(copies: str, file: str) -> None:
    path = os.path.join(copies, file)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        _warn(error)


class _Loader(SourceFileLoader):
    """Loads a module from its copy, which is made if there is none.

    It gives Python's own loader the copy where that reads the source, and byte code beside the copy.

    Args:
        name: The module's name.
        path: The source file, which may be gone.
        copy: The path of its copy.
    """

    def __init__(self, name: str, path: str, copy: str) -> None:
        super().__init__(name, path)
        self._copy = copy
        self._has_copy = os.path.isfile(copy)
        self._compiled: tuple[bytes, CodeType] | None = None
        if self._has_copy:
            _frozen[path] = self

    def get_code(self, fullname: str) -> CodeType | None:
        if not self._has_copy:
            self._freeze()
        code = super().get_code(fullname)
        self._compiled = None
        return code

    def _freeze(self) -> None:
        """Copy the file, unless another worker has done so, if it can be compiled."""
        source = self.get_data(self.path)
        # Never from byte code in the application's folder: that may be older code, edited within a second.
        self._compiled = source, self.source_to_code(source, self.path)
        try:
            _copy_first(source, self._copy)
        except OSError as error:
            _warn(error)
            return
        self._has_copy = True
        _frozen[self.path] = self

    def path_stats(self, path: str) -> Mapping[str, Any]:
        if path == self.path and not self._has_copy:
            raise FileNotFoundError(path)  # Python neither reads nor writes byte code then.
        return super().path_stats(self._redirected(path))

    def get_data(self, path: str) -> bytes:
        return super().get_data(self._redirected(path))

    def set_data(self, path: str, data: Any, *, _mode: int = 0o600) -> None:
        # It writes to a temporary file and renames that. Python goes on if it cannot.
        super().set_data(self._redirected(path), data, _mode=_mode)

    def source_to_code(  # type: ignore[override]  # A static method of its base, which has options of its own.
        self, data: Any, path: Any, **options: Any
    ) -> CodeType:
        if self._compiled is not None and self._compiled[0] == data:
            return self._compiled[1]
        code: CodeType = super().source_to_code(data, path, **options)
        return code

    def _redirected(self, path: str) -> str:
        if path == self.path:
            return self._copy if self._has_copy else path
        if path == _byte_code_of(self.path):
            return os.path.join(os.path.dirname(self._copy), "__pycache__", os.path.basename(path))
        return path


def _byte_code_of(path: str) -> str | None:
    try:
        return importlib.util.cache_from_source(path)
    except NotImplementedError:
        return None


def _copy_first(data: bytes, copy: str) -> None:
    """Write ``data`` to the file ``copy``, unless there is such a file. Other processes see all of it or nothing."""
    folder = os.path.dirname(copy)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)  # Of a package; its parent exists.
    temporary = os.path.join(folder, f".{os.path.basename(copy)}-{os.getpid()}-{get_ident()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
        os.link(temporary, copy)
    except FileExistsError:
        pass
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


_warned: list[bool] = []


def _warn(error: OSError) -> None:
    """Log, once, that the code cannot be frozen. Stopping the stream for that would be worse."""
    if _warned:
        return
    _warned.append(True)
    message = f"the application's code is not frozen: {error}; a worker started later may run code changed meanwhile"
    print(f"{MARK}Wwallaroo worker: {message}", file=sys.stderr, flush=True)


def _show_copies(linecache: Any) -> None:
    """Have ``linecache``, and so tracebacks and ``inspect``, show the lines that run instead of those on disk."""
    read = getattr(linecache, "updatecache", None)
    if read is None:
        return  # A module of that name which is not the standard library's.

    def updatecache(filename: str, module_globals: Any = None) -> Any:
        loader = _frozen.get(filename)
        try:
            source = None if loader is None else loader.get_source(loader.name)
        except (ImportError, SyntaxError):
            source = None
        if source is None:
            return read(filename, module_globals)
        lines = [f"{line}\n" for line in source.removesuffix("\n").split("\n")]
        # linecache does not compare an entry without a time with the file.
        linecache.cache[filename] = (len(source), None, lines, filename)
        return lines

    linecache.updatecache = updatecache
