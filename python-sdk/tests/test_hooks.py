"""Hooks: what runs before a worker is ready, and when it is told to stop."""

from __future__ import annotations

import functools
import sys

import pytest

import wallaroo
import wallaroo.testing
from wallaroo import lines, stdin, stdout
from wallaroo._hooks import Registered
from wallaroo.worker._lifecycle import Lifecycle

calls: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


class Model:
    """Makes steps in every way in which an object can be one."""

    def __init__(self, name="model"):
        self.name = name

    def setup(self):
        calls.append(f"{self.name} is set up")

    def teardown(self):
        calls.append(f"{self.name} is torn down")

    def __call__(self, data):
        calls.append(f"{self.name} is called")
        return data

    def compute(self, data):
        return self(data)


class Decoder(Model):
    delimiter = b"\n"

    def decode(self, bs):
        return bs.decode()


class Encoder(Model):
    def encode(self, data):
        return data


class Count(wallaroo.Aggregation):
    def setup(self):
        calls.append("the aggregation is set up")

    def initial_accumulator(self):
        return 0

    def update(self, data, accumulator):
        return accumulator + 1

    def output(self, key, accumulator):
        return str(accumulator)


def application(*steps):
    pipeline = wallaroo.source("in", stdin(Decoder("decoder")))
    for step in steps:
        pipeline = pipeline.to(step)
    return wallaroo.build_application("app", pipeline.to_sink(stdout(Encoder("encoder"))))


def step_of(function, name="step"):
    return wallaroo.computation(name=name)(function)


def test_objects_are_set_up_before_the_first_message_and_torn_down_at_the_end():
    outcome = wallaroo.testing.run(application(step_of(Model())), ["tea"])
    assert outcome.lines == ["tea"]
    assert calls == [
        "decoder is set up",
        "model is set up",
        "encoder is set up",
        "model is called",
        "encoder is torn down",
        "model is torn down",
        "decoder is torn down",
    ]


def shared(function):
    @functools.wraps(function)
    def wrapped(data):
        return function(data)

    return wrapped


def counting(data, state):
    return data


@pytest.mark.parametrize(
    "steps",
    [
        lambda model: [step_of(model)],
        lambda model: [step_of(model.compute)],
        lambda model: [step_of(functools.partial(model))],
        lambda model: [step_of(functools.partial(model.compute))],
        lambda model: [step_of(shared(model.compute))],
        lambda model: [step_of(model), step_of(model.compute, "again")],
        lambda model: [wallaroo.computation_batch(name="step")(model)],
        lambda model: [wallaroo.computation_multi(name="step")(model)],
    ],
)
def test_wherever_the_object_of_a_step_is_found(steps):
    Lifecycle(application(*steps(Model())), [], []).starts[1].call()
    assert calls == ["model is set up"]
    assert len(Lifecycle(application(*steps(Model())), [], []).starts) == 3


def test_objects_of_steps_with_state_windows_generators_and_the_builder():
    class Stateful(Model):
        def __call__(self, data, state):
            return data

    class Generator:
        def initial_value(self):
            return None

        def apply(self, previous):
            return None

        def setup(self):
            calls.append("the generator is set up")

    ab = wallaroo.ApplicationBuilder("app").new_pipeline("in", wallaroo.GenSourceConfig(Generator))
    built = ab.to(Model("builder's")).to_sink(stdout(lines())).build()
    stateful = wallaroo.state_computation(name="count", state=dict)(Stateful("stateful"))
    for app in (built, application(stateful), application(wallaroo.count_windows(2).over(Count))):
        for hook in Lifecycle(app, [], []).starts:
            hook.call()
    wanted = ["the generator is set up", "builder's is set up", "stateful is set up", "the aggregation is set up"]
    assert [call for call in calls if "coder" not in call] == wanted


AROUND_AN_OBJECT = {
    "map": lambda p, model: p.map(model),
    "filter": lambda p, model: p.filter(model),
    "key_by": lambda p, model: p.key_by(model),
    "stateful": lambda p, model: p.stateful(model, dict),
    "reduce": lambda p, model: p.reduce(model),
    "sum": lambda p, model: p.sum(model),
    "mean": lambda p, model: p.mean(model),
    "min": lambda p, model: p.min(model),
    "max": lambda p, model: p.max(model),
    "dedup": lambda p, model: p.dedup(model),
    "a window's sum": lambda p, model: p.window(wallaroo.count_windows(2)).aggregate(wallaroo.sum(model)),
    "a window's mean": lambda p, model: p.window(wallaroo.count_windows(2)).aggregate(wallaroo.mean(model)),
    "a window's min": lambda p, model: p.window(wallaroo.count_windows(2)).aggregate(wallaroo.min(model)),
    "a window's reduce": lambda p, model: p.window(wallaroo.count_windows(2)).aggregate(wallaroo.reduce(model)),
}


@pytest.mark.parametrize("verb", AROUND_AN_OBJECT)
@pytest.mark.parametrize("of_method", [False, True])
def test_objects_inside_verbs_are_set_up(verb, of_method):
    class Any(Model):
        def __call__(self, *arguments):
            raise AssertionError

        def method(self, *arguments):
            raise AssertionError

    given = Any().method if of_method else Any()
    pipeline = AROUND_AN_OBJECT[verb](wallaroo.source("in", stdin(lines())), given)
    app = wallaroo.application("app", pipeline.map(str).sink(stdout(lines())))
    for hook in Lifecycle(app, [], []).starts:
        hook.call()
    assert calls == ["model is set up"]


def test_a_method_of_that_name_in_an_older_application_is_left_alone():
    class Old(Model):
        def setup(self, host):
            raise AssertionError

    ab = wallaroo.ApplicationBuilder("app").new_pipeline("in", stdin(lines()))
    assert Lifecycle(ab.to(Old).to_sink(stdout(lines())).build(), [], []).starts == []
    assert len(Lifecycle(application(step_of(shared)), [], []).starts) == 2


class WithArgument(Model):
    def setup(self, host):
        raise AssertionError


class Async(Model):
    async def setup(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        (
            lambda: step_of(WithArgument(), "score"),
            "step 'score': setup() of WithArgument(host) cannot be called with no argument\n"
            "hint: define it as setup(self)",
        ),
        (
            lambda: step_of(Async(), "score"),
            "step 'score': setup() of Async is async, and nothing would await it\nhint: define it as: def setup(self)",
        ),
    ],
)
def test_a_hook_that_cannot_be_called_is_refused(step, complaint):
    with pytest.raises(wallaroo.WallarooParameterError) as raised:
        wallaroo.testing.run(application(step()), ["tea"])
    assert str(raised.value) == complaint


def test_a_worker_of_a_pool_cannot_know_what_to_set_up():
    pipeline = wallaroo.source("in", stdin(lines())).to(step_of(Model(), "score"), pool="models")
    app = wallaroo.build_application("app", pipeline.to_sink(stdout(lines())))
    with pytest.raises(wallaroo.WallarooParameterError) as raised:
        wallaroo.testing.run(app, ["tea"])
    assert str(raised.value) == (
        "step 'score': setup() of Model is for every worker that runs the step, and an application with pools (models)"
        " cannot say yet which workers do\n"
        "hint: load what the step needs when it is first called, or in a function with @wallaroo.on_start, which the"
        " workers of all pools run"
    )


@pytest.mark.parametrize("decorator", [wallaroo.on_start, wallaroo.on_stop])
def test_what_is_no_hook_is_refused(decorator):
    async def later():
        pass

    for function, complaint in (
        (lambda data: data, "cannot be called with no argument"),
        (later, "is async"),
        (3, "3"),
    ):
        with pytest.raises(wallaroo.WallarooParameterError, match=complaint if function != 3 else "not a function"):
            decorator(function)


HOOKS = """
import wallaroo
from helper_of_{name} import resource

@wallaroo.on_start
def load():
    resource.append("{name} is loaded")

@wallaroo.on_stop
def first():
    resource.append("{name} stops first")

@wallaroo.on_stop
def last():
    resource.append("{name} stops last")

def application_setup(args):
    lines = wallaroo.source("in", wallaroo.stdin(wallaroo.lines()))
    return wallaroo.build_application("app", lines.to_sink(wallaroo.stdout(wallaroo.lines())))
"""
HELPER = """
import wallaroo

resource = []

@wallaroo.on_start
def open_resource():
    resource.append("opened")
"""


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Import an application whose helper module has hooks too, and return it and what they did."""
    monkeypatch.syspath_prepend(tmp_path)

    def import_app(name):
        (tmp_path / f"helper_of_{name}.py").write_text(HELPER)
        (tmp_path / f"app_{name}.py").write_text(HOOKS.format(name=name))
        module = __import__(f"app_{name}")
        return module, module.resource

    before = set(sys.modules)
    yield import_app
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_functions_run_in_order_and_only_those_of_the_application(imported):
    tea, of_tea = imported("tea")
    cup, of_cup = imported("cup")
    wallaroo.testing.run(tea, ["x"])
    assert of_tea == ["opened", "tea is loaded", "tea stops last", "tea stops first"]
    assert of_cup == []
    app = wallaroo.testing.InProcess(cup)
    assert of_cup == ["opened", "cup is loaded"]
    app.end()
    app.end()
    assert of_cup == ["opened", "cup is loaded", "cup stops last", "cup stops first"]


def test_what_another_application_has_changed_in_the_standard_library_does_not_make_it_used(imported, monkeypatch):
    tea, of_tea = imported("tea")
    cup, of_cup = imported("cup")
    tea.sys = sys
    monkeypatch.setattr(sys, "excepthook", cup.load)
    wallaroo.testing.run(tea, ["x"])
    assert of_tea == ["opened", "tea is loaded", "tea stops last", "tea stops first"]
    assert of_cup == []


def test_a_built_application_runs_those_of_the_modules_of_its_steps(monkeypatch):
    registered = Registered()
    monkeypatch.setattr("wallaroo.testing._in_process.started", registered)
    registered.add(_hook, __name__)
    wallaroo.testing.run(application(), ["x"])
    assert "the hook has run" in calls
    calls.clear()
    plain = wallaroo.source("in", stdin(lines())).to_sink(stdout(lines()))
    wallaroo.testing.run(wallaroo.build_application("app", plain), ["x"])
    assert calls == []


@pytest.mark.parametrize("verb", AROUND_AN_OBJECT)
def test_so_do_functions_inside_verbs(monkeypatch, verb):
    registered = Registered()
    monkeypatch.setattr("wallaroo.testing._in_process.started", registered)
    registered.add(_hook, __name__)
    pipeline = AROUND_AN_OBJECT[verb](wallaroo.source("in", stdin(lines())), lambda *arguments: 1)
    wallaroo.testing.run(wallaroo.application("app", pipeline.map(str).sink(stdout(lines()))), [])
    assert calls == ["the hook has run"]


def _hook():
    calls.append("the hook has run")


def test_a_module_that_is_imported_again_registers_its_functions_once():
    registered = Registered()
    code = "def _(): return 1\ndef _(): return 2"
    for _ in range(2):
        names = {"__name__": "app"}
        for line in compile(code, "app.py", "exec").co_consts:
            if hasattr(line, "co_code"):
                registered.add(type(_hook)(line, names), "app")
    assert [function() for function in registered.all()] == [1, 2]


def _noting(number):
    return lambda: calls.append(number)


def test_functions_of_a_loop_and_objects_are_hooks_of_their_own():
    registered = Registered()
    for number in (1, 2):
        registered.add(_noting(number), "app")
    assert len(registered.all()) == 2
    registered = Registered()
    registered.add(functools.partial(calls.append, "a partial has run"), "app")
    for hook in Lifecycle(application(), registered.all(), []).starts[:1]:
        assert hook.what == "on_start function partial"
        hook.call()
    assert calls == ["a partial has run"]


def test_what_a_hook_raises_is_the_tests_error():
    class Broken(Model):
        def setup(self):
            raise LookupError("no model")

    with pytest.raises(LookupError, match="no model"):
        wallaroo.testing.run(application(step_of(Broken())), ["x"])


def test_a_hook_that_fails_at_the_stop_does_not_keep_others_from_running(capsys):
    class Broken(Model):
        def teardown(self):
            raise LookupError("gone")

    wallaroo.testing.run(application(step_of(Broken(), "score")), ["x"])
    assert calls[-1] == "decoder is torn down"
    error = capsys.readouterr().err
    assert error.startswith("step 'score': teardown() of Broken failed\nTraceback (most recent call last):\n")
    assert error.endswith("LookupError: gone\n")
