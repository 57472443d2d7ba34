"""The script that looks for import cycles finds planted ones, and only those."""

import pytest

from tests.circles import LAYERS, circles, python_uses, rust_uses, upward
from tests.harness.places import ROOT

CRATE = {
    "lib.rs": "pub mod ground;\npub mod middle;\npub mod top;\n",
    "ground.rs": "pub struct Id(pub u32);\n",
    "middle/mod.rs": "pub mod inner;\nuse crate::ground::Id;\n",
    "middle/inner.rs": "use super::super::ground;\nfn deep(id: &crate::ground::Id) {}\n",
    "top.rs": "use crate::{ground::Id, middle::{self, inner}};\nmod part;\n",
    "top/part.rs": "use super::super::middle::inner;\n",
}


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def names(circle):
    return list(dict.fromkeys(use.source for use in circle))


def pairs(uses):
    return {(use.source, use.target) for use in uses if use.source != use.target}


def test_uses_of_every_kind_are_seen(tmp_path):
    uses = rust_uses(write(tmp_path, CRATE))
    assert pairs(uses) == {("middle", "ground"), ("top", "ground"), ("top", "middle")}
    lines = {(use.file.name, use.line) for use in uses if use.target == "ground"}
    assert lines == {("mod.rs", 2), ("inner.rs", 1), ("inner.rs", 2), ("top.rs", 1)}
    assert not circles(uses)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("ground.rs", "use crate::top::Thing;"),
        ("ground.rs", "fn name(thing: &crate::top::Thing) {}"),
        ("ground.rs", "use crate::{\n    top::{\n        Thing as Other,\n    },\n};"),
        ("ground.rs", "mod inner { use super::super::top; }"),
        ("ground/inner.rs", "use super::super::top::*;"),
        ("middle/inner.rs", "pub(crate) use super::super::{ground, top as above};"),
    ],
)
def test_a_planted_circle_is_found(tmp_path, file, line):
    files = {**CRATE, file: CRATE.get(file, "") + line + "\n"}
    found = circles(rust_uses(write(tmp_path, files)))
    culprit = file.split("/")[0].removesuffix(".rs")
    assert names(found[0]) == [culprit, "top"]
    assert any(use.file == tmp_path / file and use.target == "top" for use in found[0])


@pytest.mark.parametrize(
    "text",
    [
        "// use crate::top::Thing;\n",
        "/// See [`crate::top`].\npub struct Doc;\n",
        'const TEXT: &str = "use crate::top; \\" crate::top";\n',
        'const RAW: &str = r#"crate::top " crate::top"#;\n',
        "const QUOTE: char = '\"'; // crate::top\n",
        "#[cfg(test)]\nmod tests {\n    use crate::top;\n    fn a() { let _ = [1; 2]; }\n}\n",
        "#[cfg(test)]\nuse crate::top;\n",
        "use crate::not_a_module::Thing;\n",
    ],
)
def test_what_is_no_use_is_not_seen(tmp_path, text):
    uses = rust_uses(write(tmp_path, {**CRATE, "ground.rs": text + "use crate::middle;\n"}))
    assert ("ground", "top") not in pairs(uses)
    assert ("ground", "middle") in pairs(uses)


def test_files_of_tests_are_not_looked_at(tmp_path):
    files = {"ground.rs": "#[cfg(test)]\npub(crate) mod tests;\n", "ground/tests.rs": "use crate::top;\n"}
    assert not circles(rust_uses(write(tmp_path, {**CRATE, **files})))


def test_a_longer_circle_is_named_whole(tmp_path):
    files = {
        "lib.rs": "",
        "a.rs": "use crate::b::B;\n",
        "b.rs": "use crate::c::C;\n",
        "c.rs": "use crate::a::A;\n",
    }
    assert [names(circle) for circle in circles(rust_uses(write(tmp_path, files)))] == [["a", "b", "c"]]


def test_a_use_of_a_higher_layer_is_found(tmp_path):
    uses = rust_uses(write(tmp_path, {**CRATE, "ground.rs": "use crate::middle::Thing;\n"}))
    assert pairs(upward(uses, (("ground",), ("middle",), ("top",)))) == {("ground", "middle")}
    assert pairs(upward(uses, (("middle", "ground"), ("top",)))) == {("ground", "middle"), ("middle", "ground")}


@pytest.mark.parametrize(
    "line",
    [
        "from wallaroo.worker import Session",
        "from ..worker import Session",
        "from .. import worker",
        "import wallaroo.worker._session",
        "if TYPE_CHECKING:\n    from wallaroo.worker import Session",
        "def later():\n    from wallaroo.worker._session import Session",
    ],
)
def test_a_planted_circle_of_packages_is_found(tmp_path, line):
    files = {
        "__init__.py": "from wallaroo.worker import Session\n",
        "steps/__init__.py": "",
        "steps/_step.py": line + "\n",
        "worker/__init__.py": "from wallaroo.worker._session import Session\n",
        "worker/_session.py": "from wallaroo.steps._step import Step\n",
    }
    found = circles(python_uses(write(tmp_path / "wallaroo", files)))
    assert [names(circle) for circle in found] == [["steps", "worker"]]


def test_the_package_itself_is_a_module(tmp_path):
    files = {"__init__.py": "from wallaroo.steps import Step\n", "steps.py": "def f():\n    import wallaroo\n"}
    found = circles(python_uses(write(tmp_path / "wallaroo", files)))
    assert [names(circle) for circle in found] == [["steps", "wallaroo"]]
    assert any(use.note == "in a function" for use in found[0])


@pytest.mark.parametrize("crate", LAYERS)
def test_the_crates_are_read(crate):
    assert len(pairs(rust_uses(ROOT / crate))) > 10
