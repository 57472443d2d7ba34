"""Frozen code: every worker of an edition runs the modules as the first of them imported them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

from orchestrator import SRC, WorkerProcess, echo

ONE_STAGE = [[0, "frames", 0, [2]]]

PREPARE = """
import importlib, os, pkgutil, sys
from wallaroo.worker._frozen_code import FrozenCode
copies, root = sys.argv[1:3]
FrozenCode(copies, root).install()
sys.path.insert(0, root)
"""


@pytest.fixture
def root(tmp_path):
    """The application's folder."""
    folder = tmp_path / "application"
    folder.mkdir()
    return folder


@pytest.fixture
def process(tmp_path, root):
    """Run code in a process of an edition and return what it prints; one that fails fails the test."""

    def run(code, *, edition="edition", env=()):
        copies = tmp_path / edition
        copies.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PREPARE + code, copies, root],
            env={**os.environ, "PYTHONPATH": str(SRC), **dict(env)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return (done.stdout + done.stderr).strip()

    return run


def write(root, modules):
    """Write modules: ``pkg/part`` is ``pkg/part.py``."""
    for name, source in modules.items():
        path = root / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(source)


def copied(tmp_path, edition="edition"):
    found = (tmp_path / edition).rglob("*.py")
    return sorted(str(path.relative_to(tmp_path / edition)) for path in found)


# The modules of an edition.


@pytest.mark.parametrize("later", ["N = 2\n", "N = (\n", "", None])
def test_a_module_stays_as_it_was_first_imported(later, root, process):
    write(root, {"part": "N = 1\n"})
    code = "import part; print(part.N, os.path.relpath(part.__file__, root))"
    assert process(code) == "1 part.py"
    if later is None:
        (root / "part.py").unlink()
    else:
        write(root, {"part": later})
    assert process(code) == "1 part.py"
    assert process(code) == "1 part.py", "from byte code"


def test_another_edition_reads_the_disk_anew(root, process):
    write(root, {"part": "N = 1\n"})
    assert process("import part; print(part.N)") == "1"
    write(root, {"part": "N = 2\n"})
    assert process("import part; print(part.N)", edition="next") == "2"
    assert process("import part; print(part.N)") == "1"


def test_packages(root, process, tmp_path):
    write(root, {"shop/__init__": "from .goods import N\n", "shop/goods": "from . import tea\nN = tea.N\n"})
    write(root, {"shop/tea": "N = 1\n", "shop/deep/__init__": "from ..tea import N\n", "spaces/part": "N = 1\n"})
    code = "import shop.deep, spaces.part; print(shop.N, shop.deep.N, spaces.part.N, len(spaces.__path__))"
    assert process(code) == "1 1 1 1"
    write(root, {"shop/tea": "N = 2\n", "spaces/part": "N = 2\n", "spaces/__init__": "raise ValueError\n"})
    assert process(code) == "1 1 1 1"
    shutil.rmtree(root)
    assert process(code) == "1 1 1 1"
    files = ["shop/__init__.py", "shop/deep/__init__.py", "shop/goods.py", "shop/tea.py", "spaces/part.py"]
    assert copied(tmp_path) == files


def test_a_namespace_package_over_two_folders(root, process):
    write(root, {"spaces/one": "N = 1\n", "more/spaces/two": "N = 2\n"})
    code = "sys.path.append(root + '/more')\nimport spaces.one, spaces.two; print(spaces.one.N, spaces.two.N)"
    assert process(code) == "1 2"
    shutil.rmtree(root)
    assert process(code) == "1 2"


def test_a_lazy_import_is_frozen_at_its_first_time(root, process):
    write(root, {"part": "def late():\n    import lazy\n    return lazy.N\n", "lazy": "N = 1\n"})
    assert process("import part") == ""
    write(root, {"lazy": "N = 2\n"})
    assert process("import part; print(part.late())") == "2"
    write(root, {"lazy": "N = 3\n"})
    assert process("import part; print(part.late())") == "2"


def test_reload_and_import_module_and_run_module(root, process):
    write(root, {"part": "N = 1\n", "main": "print('main 1')\n"})
    process("import part, main")
    write(root, {"part": "N = 2\n", "main": "print('main 2')\n"})
    code = "import runpy; part = importlib.import_module('part'); importlib.reload(part); print(part.N)\n"
    assert process(code + "runpy.run_module('main')").split("\n") == ["1", "main 1"]


def test_a_half_written_file_is_not_frozen(root, process):
    write(root, {"part": "N = (\n"})
    code = "try:\n    import part; print(part.N)\nexcept SyntaxError:\n    print('broken')"
    assert process(code) == "broken"
    write(root, {"part": "N = 1\n"})
    assert process(code) == "1"


def test_encodings_and_odd_names(root, process):
    (root / "part.py").write_bytes("# coding: latin-1\nWORD = 'tée'\n".encode("latin-1"))
    write(root, {"tée": "N = 1\n"})
    code = "import part; tee = importlib.import_module('t\\xe9e'); print(part.WORD == 't\\xe9e', tee.N)"
    assert process(code) == "True 1"
    shutil.rmtree(root)
    assert process(code) == "True 1"


def test_a_link_to_the_folder_is_the_folder(root, process, tmp_path):
    (tmp_path / "link").symlink_to(root)
    write(root, {"part": "N = 1\ndef f(): pass\n"})
    process("import part")
    write(root, {"part": "N = 2\n"})
    code = "sys.path[0] = os.path.dirname(root) + '/link'; import part; print(part.N, part.__file__)"
    assert process(code) == f"1 {tmp_path}/link/part.py"
    # The copy's byte code was made for the other path.
    process("import part")
    code = "sys.path[0] = os.path.dirname(root) + '/link'; import part; print(part.f.__code__.co_filename)"
    assert process(code) == f"{tmp_path}/link/part.py"


def test_two_processes_race(root, process, tmp_path):
    write(root, {f"part{number}": "import os; N = os.getpid()\n" for number in range(30)})
    (tmp_path / "edition").mkdir()
    # Each process sees other source: the disk changes before each of its imports.
    code = """
seen = []
for number in range(30):
    with open(f"{root}/new-{os.getpid()}", "w") as file:
        file.write(f"N = {os.getpid()}\\n" + "# filler\\n" * 1000)
    os.replace(file.name, f"{root}/part{number}.py")
    seen.append(importlib.import_module(f"part{number}").N)
print(seen)
"""
    command = [sys.executable, "-c", PREPARE + code, tmp_path / "edition", root]
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    racing = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE) for _ in range(3)]
    seen = {process.communicate()[0] for process in racing}
    assert len(seen) == 1, "all have the same of each"
    assert len(seen.pop().split(b",")) == 30
    assert not list((tmp_path / "edition").glob(".part*")), "no temporary files are left"


def test_the_first_copy_wins(root, process):
    write(root, {"part": "N = 1\n"})
    code = """
import importlib.util
first, second = (importlib.util.find_spec("part") for _ in range(2))

def load(spec):
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.N

one = load(first)
with open(root + "/part.py", "w") as file:
    file.write("N = 22")
print(one, load(second))
"""
    assert process(code) == "1 1"
    assert process("import part; print(part.N)") == "1"


# What is not there.


OPTIONAL = """
try:
    import extra
    print(extra.N)
except ImportError:
    print("none")
"""


def test_a_module_added_later_is_not_found(root, process):
    assert process(OPTIONAL) == "none"
    write(root, {"extra": "N = 1\n"})
    assert process(OPTIONAL) == "none"
    twice = "sys.path.insert(0, root)\n"
    assert process(twice + OPTIONAL) == "none", "the folder is searched twice"
    assert process(OPTIONAL, edition="next") == "1"


def test_a_module_added_later_does_not_hide_an_installed_one(root, process):
    code = "import colorsys; print(hasattr(colorsys, 'rgb_to_hsv'))"
    assert process(code) == "True"
    write(root, {"colorsys": ""})
    assert process(code) == "True"
    assert process(code, edition="next") == "False"


def test_a_module_that_another_worker_did_not_find_is_not_found(root, process):
    write(root, {"part": ""})
    code = f"""
import part, subprocess
subprocess.run([sys.executable, "-c", {PREPARE + OPTIONAL!r}, copies, root], check=True)
with open(root + "/extra.py", "w") as file:
    file.write("N = 1")
"""
    assert process(code + OPTIONAL) == "none\nnone"


GENERATE = """
    time = os.stat(root).st_mtime_ns
    with open(root + "/extra.py", "w") as file:
        file.write("N = 1")
    """


# A coarse clock may leave the folder's time as it was, unless that is set.
@pytest.mark.parametrize(
    "notice", ["os.utime(root, ns=(0, time + 10**9))", "os.utime(root, ns=(0, time)); importlib.invalidate_caches()"]
)
def test_a_module_that_the_application_writes_itself_is_found(notice, root, process):
    for _ in range(2):
        code = OPTIONAL + GENERATE + notice + "\n    import extra; print(extra.N)"
        assert process(code) == "none\n1"
        (root / "extra.py").unlink()


# What is not frozen.


def test_a_virtual_environment_in_the_folder_is_not_frozen(root, process, tmp_path):
    write(root, {"env/lib/site-packages/tool": "N = 1\n", "part": "N = 1\n"})
    code = "sys.path.append(root + '/env/lib/site-packages'); import tool, part; print(tool.N, part.N)"
    assert process(code) == "1 1"
    assert copied(tmp_path) == ["part.py"]
    write(root, {"env/lib/site-packages/tool": "N = 22\n", "part": "N = 22\n"})
    assert process(code) == "22 1"


def test_an_interpreter_in_the_folder_is_not_frozen(root, process, tmp_path):
    write(root, {"python/lib/tool": "N = 1\n"})
    code = "sys.path.append(root + '/python/lib'); import tool; print(tool.N)"
    assert process(f"sys.prefix = root + '/python'; FrozenCode(copies, root).install(); {code}") == "1"
    # The hook of PREPARE comes second. It does not know the prefix.
    assert copied(tmp_path) == ["python/lib/tool.py"]
    code = "sys.prefix = root + '/python'; del sys.path_hooks[0]; FrozenCode(copies, root).install(); " + code
    assert process(code, edition="next") == "1"
    assert copied(tmp_path, "next") == []


def test_an_application_below_the_interpreter_is_frozen(root, process, tmp_path):
    write(root, {"part": "N = 1\n"})
    code = "sys.prefix = os.path.dirname(root); del sys.path_hooks[0]; FrozenCode(copies, root).install()\n"
    assert process(code + "import part; print(part.N)") == "1"
    assert copied(tmp_path) == ["part.py"]


def test_other_folders_and_archives_are_not_frozen(root, process, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, {"outside": "N = 1\n"})
    with zipfile.ZipFile(root / "packed.zip", "w") as archive:
        archive.writestr("inside.py", "N = 1\n")
    code = f"sys.path += [{str(elsewhere)!r}, root + '/packed.zip']; import outside, inside; print(outside.N, inside.N)"
    assert process(code) == "1 1"
    assert copied(tmp_path) == []
    write(elsewhere, {"outside": "N = 22\n"})
    assert process(code) == "22 1"


def test_an_extension_module_comes_before_a_source_file(root, process, tmp_path):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    write(root, {"part": "N = 1\n"})
    assert process("import part; print(part.N)") == "1"
    (root / f"part{suffix}").write_bytes(b"no library")
    code = "print(type(importlib.util.find_spec('part').loader).__name__)"
    assert process("import importlib.util; " + code) == "ExtensionFileLoader"


def test_a_folder_that_cannot_be_written_is_logged_once(root, process, tmp_path):
    write(root, {"part": "N = 1\n", "other": "N = 1\n"})
    code = "FrozenCode(copies + '/file/copies', root).install(); import part, other; print(part.N, other.N)"
    (tmp_path / "edition").mkdir()
    (tmp_path / "edition" / "file").write_text("")
    shown, *logged = process(code).split("\n")
    assert shown == "1 1"
    assert len(logged) == 1
    assert logged[0].startswith("\x1eWwallaroo worker: the application's code is not frozen: [Errno ")
    write(root, {"part": "N = 2\n"})
    assert process(code).startswith("2 1\n")


def test_a_worker_does_not_make_the_folder_of_its_edition_again(root, process, tmp_path):
    write(root, {"part": "N = 1\n", "shop/__init__": "", "shop/tea": "N = 1\n"})
    code = (
        "import part; os.rename(copies, copies + '-gone'); import shop.tea; print(shop.tea.N, os.path.exists(copies))"
    )
    shown, *logged = process(code).split("\n")
    assert shown == "1 False"
    assert len(logged) == 1


# What people see.


def test_tracebacks_and_inspect_show_the_lines_that_run(root, process):
    write(root, {"part": "def fail():\n    raise ValueError('old \\x0c')  # old line \x0c\n\ndef after(): 'old'\n"})
    process("import part")
    show = """
import inspect, linecache, traceback, part
try:
    part.fail()
except ValueError:
    print(traceback.format_exc())
linecache.checkcache()
print(inspect.getsource(part.after), linecache.getline(part.__file__, 99) == "")
linecache.clearcache()
print(linecache.getline(part.__file__, 2))
"""
    write(root, {"part": "# new line\n" * 9})
    for before in ("", "import linecache\n"):
        shown = process(before + show)
        assert f'File "{root}/part.py", line 2, in fail\n    raise ValueError' in shown
        assert "def after(): 'old'\n True" in shown
        assert shown.count("# old line") == 2
        assert "new line" not in shown
    (root / "part.py").unlink()
    assert process(show).count("# old line") == 2


def test_other_files_are_shown_as_they_are(root, process):
    (root / "text.txt").write_text("first\n")
    assert process("import linecache; print(linecache.getline(root + '/text.txt', 1))") == "first"


def test_nothing_is_written_to_the_application(root, process):
    write(root, {"part": "N = 1\n", "shop/__init__": ""})
    before = sorted(root.rglob("*"))
    for _ in range(2):
        process("import part, shop", env=[("PYTHONDONTWRITEBYTECODE", "")])
    assert sorted(root.rglob("*")) == before


def test_byte_code_is_kept_beside_the_copies(root, process, tmp_path):
    write(root, {"part": "N = 1\n"})
    process("import part", env=[("PYTHONDONTWRITEBYTECODE", "")])
    (byte_code,) = (tmp_path / "edition" / "__pycache__").iterdir()
    assert byte_code.name.startswith(f"part.{sys.implementation.cache_tag}")


def test_data_and_listings_are_those_on_disk(root, process):
    write(root, {"shop/__init__": "", "shop/one": ""})
    (root / "shop" / "prices.txt").write_text("1")
    listed = "[m.name for m in pkgutil.iter_modules(shop.__path__)]"
    code = f"import shop; print(pkgutil.get_data('shop', 'prices.txt'), {listed})"
    assert process(code) == "b'1' ['one']"
    (root / "shop" / "prices.txt").write_text("2")
    write(root, {"shop/two": ""})
    assert process(code) == "b'2' ['one', 'two']"


# Workers.


def worker_of(tmp_path, **options):
    copies = tmp_path / "edition"
    copies.mkdir(exist_ok=True)
    return WorkerProcess(code=copies, **options)


@pytest.mark.parametrize("name", ["my_app.py", "my-app.py", "my.app.py"])
@pytest.mark.parametrize("later", [echo("return 'new'"), "import (", None])
def test_a_worker_started_later_runs_the_same_code(later, name, app, tmp_path):
    path = app("import beside\n" + echo("import lazy; return data + beside.WORD + lazy.WORD"), name)
    write(tmp_path, {"beside": "WORD = ' old'\n", "lazy": "WORD = ' old'\n"})
    for _ in range(3):
        with worker_of(tmp_path) as worker:
            worker.start(path, stages=ONE_STAGE)
            write(tmp_path, {"beside": "WORD = ' new'\n"})
            assert worker.batch(1, 0, [b"a"])[0] == {2: ["a old old"]}
            assert worker.finish() == (0, "", "")
        if later is None:
            path.unlink(missing_ok=True)
            (tmp_path / "lazy.py").unlink(missing_ok=True)
        else:
            path.write_text(later)
            write(tmp_path, {"lazy": "WORD = ' new'\n"})


def test_an_application_that_is_a_module_is_frozen(app, tmp_path):
    app(echo("return data + ' old'"), "some_module.py")
    for _ in range(2):
        with worker_of(tmp_path, cwd=tmp_path) as worker:
            worker.start("some_module", stages=ONE_STAGE)
            assert worker.batch(1, 0, [b"a"])[0] == {2: ["a old"]}
        app(echo("return data + ' new'"), "some_module.py")


def test_a_failure_shows_the_lines_that_run(app, tmp_path):
    path = app(echo("raise ValueError(data)  # old"))
    for _ in range(2):
        with worker_of(tmp_path) as worker:
            worker.start(path, stages=ONE_STAGE)
            path.write_text("# new\n" * 99)
            _, failures, _ = worker.batch(1, 0, [b"a"])
            assert "raise ValueError(data)  # old" in failures[0][5]
            assert str(path) in failures[0][5]


def test_an_application_that_was_never_there(tmp_path):
    with worker_of(tmp_path) as worker:
        worker.hello()
        assert worker.load(tmp_path / "none.py")[1:3] == ["import", f"{tmp_path / 'none.py'} is not a file"]


def test_without_the_option_nothing_is_frozen(app, tmp_path):
    path = app(echo("return data + ' old'"))
    for word in ("old", "newer"):
        path.write_text(path.read_text().replace("old", word))
        with WorkerProcess() as worker:
            worker.start(path, stages=ONE_STAGE)
            assert worker.batch(1, 0, [b"a"])[0] == {2: [f"a {word}"]}
