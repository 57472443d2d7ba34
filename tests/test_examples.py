"""Every example gives its expected output with 1, 2 and 3 workers, in order for every key."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict

import pytest

from tests.harness.clients import frames, send
from tests.harness.examples import example_module, market_spread
from tests.harness.interpreters import discover, environment_for, environment_with
from tests.harness.orchestrator import PATIENCE, Orchestrator, orchestrator_command, read_dead_letters
from tests.harness.places import EXAMPLES
from tests.harness.scripts import Script, free_port

WORKERS = [1, 2, 3]


def by_first_field(line):
    return line.partition(" ")[0]


def by_second_field(line):
    return line.split(" ")[1]


def one_order(line):
    return None


# The module with the example's messages, and the key of an output line: order is kept per key.
PLAIN = {
    "reverse": one_order,
    "celsius": one_order,
    "alphabet": one_order,
    "alphabet_partitioned": by_first_field,
    "word_count_fluent": by_first_field,
}


def messages_of(name):
    folder = EXAMPLES / name
    if (folder / "input.txt").exists():
        return (folder / "input.txt").read_text(encoding="utf-8").splitlines()
    return example_module(name, f"{name}_data").messages()


def in_order(lines, key):
    ordered = defaultdict(list)
    for line in lines:
        ordered[key(line)].append(line)
    return dict(ordered)


def expected_of(name):
    return (EXAMPLES / name / "expected.txt").read_text(encoding="utf-8").splitlines()


def run_plain(name, consumer, **options):
    expected = expected_of(name)
    args = ["--in", "127.0.0.1:0", "--out", consumer.place]
    with Orchestrator(EXAMPLES / name / f"{name}.py", *args, **options) as run:
        send(run.address(), frames(messages_of(name)))
        consumer.wait_count(len(expected))
        run.stop()
    assert in_order(consumer.lines(), PLAIN[name]) == in_order(expected, PLAIN[name])


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", PLAIN)
def test_expected_output(name, workers, consumer):
    run_plain(name, consumer, workers=workers)


@pytest.mark.parametrize("name", PLAIN)
def test_every_interpreter(name, consumer, interpreter):
    run_plain(name, consumer, python=interpreter)


def by_user(line):
    return line.partition(":")[0]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("kind", ["stateless", "stateful", "windowed"])
def test_alerts(kind, workers, consumer):
    run_alerts(kind, consumer, workers=workers)


@pytest.mark.parametrize("kind", ["stateless", "stateful", "windowed"])
def test_alerts_on_every_interpreter(kind, consumer, interpreter):
    run_alerts(kind, consumer, python=interpreter)


def run_alerts(kind, consumer, **options):
    expected = (EXAMPLES / "alerts" / f"expected_{kind}.txt").read_text(encoding="utf-8").splitlines()
    args = [kind, "--in", "127.0.0.1:0", "--out", consumer.place]
    with Orchestrator(EXAMPLES / "alerts" / "alerts.py", *args, **options) as run:
        send(run.address(), frames(messages_of("alerts")))
        consumer.wait_count(len(expected))
        run.stop()
    assert in_order(consumer.lines(), by_user) == in_order(expected, by_user)


@pytest.mark.parametrize("workers", WORKERS)
def test_sessions(workers, tmp_path):
    run_sessions(tmp_path, workers=workers)


def test_sessions_on_every_interpreter(tmp_path, interpreter):
    run_sessions(tmp_path, python=interpreter)


def run_sessions(tmp_path, **options):
    letters, out = tmp_path / "dead.jsonl", tmp_path / "out.txt"
    app = [EXAMPLES / "sessions" / "sessions.py", EXAMPLES / "sessions" / "input.txt"]
    with open(out, "w") as stdout:
        with Orchestrator(*app, stdout=stdout, options=["--dead-letters", letters], **options) as run:
            assert run.wait() == 0, run.log()
            assert run.summary()["late"] == 1
    written = out.read_text(encoding="utf-8").splitlines()
    assert in_order(written, by_first_field) == in_order(expected_of("sessions"), by_first_field)
    assert [letter["key"] for letter in read_dead_letters(letters)] == ["'eve'"]


@pytest.mark.parametrize("workers", WORKERS)
def test_carts(workers, tmp_path):
    run_carts(tmp_path, workers=workers)


def test_carts_on_every_interpreter(tmp_path, interpreter):
    run_carts(tmp_path, python=interpreter)


def run_carts(tmp_path, **options):
    out = tmp_path / "out.txt"
    with open(out, "w") as stdout:
        with Orchestrator(
            EXAMPLES / "carts" / "carts.py", EXAMPLES / "carts" / "input.txt", stdout=stdout, **options
        ) as run:
            assert run.wait() == 0, run.log()
            assert run.summary()["dead_letters"] == 0
    written = out.read_text(encoding="utf-8").splitlines()
    assert in_order(written, by_second_field) == in_order(expected_of("carts"), by_second_field)


@pytest.mark.parametrize("workers", WORKERS)
def test_market_spread_rejects_what_the_model_rejects(workers, consumer):
    assert 0 < market_spread(consumer, quotes=4_000, orders=2_000, workers=workers) < 2_000


def test_market_spread_on_every_interpreter(consumer, interpreter):
    assert 0 < market_spread(consumer, quotes=400, orders=200, python=interpreter) < 200


@pytest.mark.parametrize("workers", WORKERS)
def test_crashy_loses_nothing_but_the_guilty(workers, consumer, tmp_path):
    run_crashy(consumer, tmp_path, workers=workers)


def test_crashy_on_every_interpreter(consumer, tmp_path, interpreter):
    run_crashy(consumer, tmp_path, python=interpreter)


def run_crashy(consumer, tmp_path, **options):
    letters = tmp_path / "dead.jsonl"
    args = ["--in", "127.0.0.1:0", "--out", consumer.place]
    limits = ["--step-timeout", "1s", "--dead-letters", letters]
    expected = expected_of("crashy")
    with Orchestrator(EXAMPLES / "crashy" / "crashy.py", *args, options=limits, **options) as run:
        send(run.address(), frames(messages_of("crashy")))
        consumer.wait_count(len(expected))
        run.stop()
    assert in_order(consumer.lines(), by_first_field) == in_order(expected, by_first_field)
    assert sorted(letter["key"] for letter in read_dead_letters(letters)) == [
        "'exit'",
        "'hang'",
        "'raise'",
        "'segfault'",
    ]


JOBS = {
    **{name: [] for name in example_module("jobs", "test_jobs").FROM_STDIN},
    "orders_payments": [str(EXAMPLES / "jobs" / "input" / name) for name in ("orders.txt", "payments.txt")],
}


def run_job(name, words, *options):
    """What a job writes, in any order."""
    folder = EXAMPLES / "jobs"
    file = folder / "input" / f"{name}.txt"
    command = [orchestrator_command(), "run", "--quiet", *options, folder / f"{name}.py", *words]
    ran = subprocess.run(
        command,
        input=file.read_text() if file.exists() else "",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return sorted(ran.stdout.splitlines())


def expected_of_job(name):
    return sorted((EXAMPLES / "jobs" / "expected" / f"{name}.txt").read_text().splitlines())


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", JOBS)
def test_jobs(name, workers):
    written = run_job(name, JOBS[name], "--python", sys.executable, "--workers", str(workers))
    if name == "orders_payments":
        # An order may come after its payment: the fields are in the order in which they came.
        assert [sorted(json.loads(line).items()) for line in written] == [
            sorted(json.loads(line).items()) for line in expected_of_job(name)
        ]
    else:
        assert written == expected_of_job(name)


def test_jobs_on_every_interpreter(interpreter):
    for name in ("iot_dedup", "top_k", "fraud"):
        assert run_job(name, [], "--python", str(interpreter)) == expected_of_job(name)


def test_routing(tmp_path):
    assert run_job("routing", [tmp_path / "orders", tmp_path / "payments"], "--python", sys.executable) == [
        '{"item":"cup"}',
        '{"kind":"visit"}',
    ]
    assert (tmp_path / "orders").read_text() == '{"kind":"order","item":"tea"}\n{"kind":"order","item":"pot"}\n'
    assert (tmp_path / "payments").read_text() == '{"kind":"payment","amount":3}\n'


def test_enrichment():
    server = example_module("jobs", "users").serve(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert run_job("enrichment", [address], "--python", sys.executable) == expected_of_job("enrichment")
    finally:
        server.shutdown()
        server.server_close()


def test_the_examples_own_tests():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "wallaroo._pytest_plugin", "-p", "no:cacheprovider"]
    # If the wheel is installed, pytest would load the plugin twice.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "WALLAROO_ORCH": orchestrator_command()}
    ran = subprocess.run(
        [*command, EXAMPLES],
        cwd=EXAMPLES,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("workers", WORKERS)
def test_async_enrichment(workers, tmp_path):
    folder = EXAMPLES / "async_enrichment"
    command = [sys.executable, folder / "service.py", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        place = f"127.0.0.1:{service.stdout.readline().split()[1]}"
        written = tmp_path / "out.jsonl"
        with (folder / "input.txt").open() as stdin, written.open("w") as stdout:
            with Orchestrator(
                folder / "async_enrichment.py", place, stdin=stdin, stdout=stdout, workers=workers
            ) as run:
                assert run.wait() == 0, run.log()
        service.kill()
    by_country = [
        in_order(lines, lambda line: json.loads(line)[0])
        for lines in (written.read_text().splitlines(), expected_of("async_enrichment"))
    ]
    assert by_country[0] == by_country[1]


@pytest.mark.parametrize("workers", WORKERS)
def test_celsius_connectors(workers):
    run_celsius_connectors(workers=workers)


def test_celsius_connectors_on_every_interpreter(interpreter):
    run_celsius_connectors(python=interpreter)


def run_celsius_connectors(python=sys.executable, **options):
    folder, expected = EXAMPLES / "celsius_connectors", expected_of("celsius_connectors")
    ports = ["--feed-port", free_port(), "--conversion-port", free_port()]
    given = ["celsius_connectors", "celsius_feed", "--celsius_feed-file", "input.txt", *ports]
    taken = ["celsius_connectors", "fahrenheit_conversion", *ports]
    with Script("print_temperatures.py", *taken, python=python, cwd=folder) as sink:
        with Orchestrator(folder / "celsius_connectors.py", *ports, python=python, **options) as run:
            with Script("feed_temperatures.py", *given, python=python, cwd=folder) as source:
                code, said = source.wait()
                assert code == 0, said
            assert sink.lines(len(expected)) == expected
            run.stop()


MODEL_REQUIREMENTS = EXAMPLES / "model_scoring" / "requirements.txt"


@pytest.fixture(scope="module")
def model_python():
    """The Python of an environment with scikit-learn and the wheel or its substitute."""
    return environment_with("model", MODEL_REQUIREMENTS)


@pytest.fixture(scope="module")
def model_application(model_python, tmp_path_factory):
    """The example, with its model trained by ``model_python``."""
    return trained(model_python, tmp_path_factory.mktemp("model"))


def trained(python, folder):
    copied = shutil.copytree(EXAMPLES / "model_scoring", folder / "model_scoring", ignore=lambda *_: ["model.pickle"])
    subprocess.run([python, copied / "train.py"], check=True, capture_output=True)
    return copied / "model_scoring.py"


@pytest.mark.parametrize("workers", WORKERS)
def test_model_scoring_in_a_pool_with_the_models_own_environment(
    workers, consumer, model_python, model_application, tmp_path
):
    run_model_scoring(consumer, tmp_path, model_application, f"{model_python},workers={workers}", workers=workers)


def test_model_scoring_beside_every_interpreter(consumer, interpreter, model_python, model_application, tmp_path):
    run_model_scoring(consumer, tmp_path, model_application, model_python, python=interpreter)


@pytest.mark.parametrize("end", [0, -1], ids=["oldest", "newest"])
def test_model_scoring_on_the_oldest_and_the_newest_interpreter(end, consumer, tmp_path):
    chosen = by_age(discover())[end]
    python = environment_for(f"model-{chosen.name}", MODEL_REQUIREMENTS, chosen.path)
    run_model_scoring(consumer, tmp_path, trained(python, tmp_path), python)


def by_age(interpreters):
    """The CPythons, sorted by version: scikit-learn has no wheels for other interpreters."""
    cpythons = [found for found in interpreters if found.name.startswith("cpython")]
    return sorted(cpythons, key=lambda found: int(found.name.rpartition(".")[2]))


def run_model_scoring(consumer, tmp_path, application, pool, **options):
    letters = tmp_path / "dead.jsonl"
    args = ["--in", "127.0.0.1:0", "--out", consumer.place]
    words = ["--dead-letters", letters, "--pool", f"models={pool}"]
    expected = expected_of("model_scoring")
    with Orchestrator(application, *args, options=words, **options) as run:
        send(run.address(), frames(messages_of("model_scoring")))
        consumer.wait_count(len(expected))
        run.stop()
    assert [line.rpartition(",")[0] for line in consumer.lines()] == expected
    (letter,) = read_dead_letters(letters)
    assert letter["exception"] == "ValueError"
