"""The command line of connector scripts, and the application and the connector that it names."""

import sys

import pytest

from connector_application import APPLICATION, message_of, words
from wallaroo.experimental import SinkConnector, SourceConnector


def test_parameters_are_attributes(application):
    args = words(application, "feed", "--feed-host", "h", "--other-host", "x", "--feed-bootstrap_brokers=b")
    connector = SourceConnector(args, required_params=["host"], optional_params=["port", "bootstrap_brokers"])
    assert vars(connector.params) == {
        "application": application,
        "connector_name": "feed",
        "host": "h",
        "port": None,
        "bootstrap_brokers": "b",
    }


def test_the_words_of_the_process(application, monkeypatch):
    args = words(application, "results", "--in", "7300", "--results-key=k", "more")
    monkeypatch.setattr(sys, "argv", ["script", *args])
    SinkConnector(required_params=["key"])
    # As wallaroo-orch run gives them.
    assert sys.modules[application].given == [["--in", "7300", "more"]]


def test_words_of_the_application_are_no_abbreviations(application):
    args = words(application, "feed", "--feed-h", "x", "--conn", "results", "--application", "y")
    connector = SourceConnector(args, optional_params=["host"])
    assert (connector.params.host, connector.params.connector_name) == (None, "feed")


@pytest.mark.parametrize(
    ("args", "missing"),
    [
        (["--connector", "feed", "--feed-host", "h"], "--application-module"),
        (["--application-module", "app", "--feed-host", "h"], "--connector, --CONNECTOR-host"),
        (["--application-module", "app", "--connector", "feed"], "--feed-host"),
    ],
)
def test_a_word_is_missing(args, missing, capsys):
    with pytest.raises(SystemExit) as ended:
        SourceConnector(args, required_params=["host"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: the following arguments are required: {missing}\n")


def test_help_needs_no_application(capsys):
    with pytest.raises(SystemExit) as ended:
        SinkConnector(["--help", "--connector", "feed"], required_params=["host"], optional_params=["port"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--feed-host HOST" in shown
    assert "[--feed-port PORT]" in shown


# The application


def test_no_such_connector(application):
    assert message_of(lambda: SourceConnector(words(application, "fed"))) == (
        "--connector fed: application 'connected' has no source connector of that name\n"
        "hint: its source connectors are feed; its sink connectors are results, other"
    )


def test_a_connector_of_the_other_side(application):
    assert message_of(lambda: SinkConnector(words(application, "feed"))) == (
        "--connector feed: application 'connected' has no sink connector of that name; that is a source connector, and"
        " this script is of a sink\n"
        "hint: its sink connectors are results, other; its source connectors are feed"
    )


def test_an_application_without_connectors(application, tmp_path):
    (tmp_path / f"{application}.py").write_text(
        "import wallaroo as w\n"
        "def application_setup(args):\n"
        "    return w.application('none', w.source('a', w.stdin(w.lines())).sink(w.stdout(w.lines())))\n"
    )
    assert message_of(lambda: SinkConnector(words(application, "feed"))) == (
        "--connector feed: application 'none' has no sink connector of that name\n"
        "hint: its sink connectors are none; its source connectors are none"
    )


def test_two_connectors_of_one_name(application, tmp_path):
    text = APPLICATION.replace('SinkConnectorConfig("other"', 'SinkConnectorConfig("results"')
    (tmp_path / f"{application}.py").write_text(text)
    assert message_of(lambda: SinkConnector(words(application, "results"))) == (
        "--connector results: application 'connected' has several sink connectors of that name, at localhost:7200 and"
        " 127.0.0.1:7201\nhint: give each its own name"
    )


def test_no_such_module(application, tmp_path):
    assert message_of(lambda: SourceConnector(words("celsius", "feed"))) == (
        f"--application-module celsius: there is no module named celsius in {tmp_path} or on PYTHONPATH\n"
        "hint: run the script in the application's folder, or give the path of the application's .py file"
    )


def test_a_module_that_the_application_lacks(application, tmp_path):
    (tmp_path / f"{application}.py").write_text("import no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        SourceConnector(words(application, "feed"))


def test_the_path_of_a_file(application, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    connector = SourceConnector(words(str(tmp_path / f"{application}.py"), "feed"))
    assert connector.params.connector_name == "feed"


def test_no_such_file(application):
    message = message_of(lambda: SourceConnector(words("apps/celsius.py", "feed")))
    assert message.startswith("--application-module apps/celsius.py: /")
    assert "is not a file" in message


def test_a_file_of_a_name_that_is_taken(application, tmp_path):
    (tmp_path / "json.py").write_text(APPLICATION)
    message = message_of(lambda: SourceConnector(words("./json.py", "feed")))
    assert message.startswith("--application-module ./json.py: there is a module named json already, ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "it has no function application_setup\nhint: give the module that wallaroo-orch run is given"),
        (
            "def application_setup(args): return None\n",
            "application_setup returned NoneType, not an application\n"
            "hint: end it with: return wallaroo.build_application(...)",
        ),
        (
            "import wallaroo\ndef application_setup(args): return wallaroo.ApplicationBuilder('a')\n",
            "application_setup returned ApplicationBuilder, not an application\n"
            "hint: end it with: return ab.build(), or return wallaroo.build_application(name, pipeline)",
        ),
    ],
)
def test_what_is_no_application(application, tmp_path, text, expected):
    (tmp_path / f"{application}.py").write_text(text)
    message = message_of(lambda: SourceConnector(words(application, "feed")))
    assert message == f"--application-module {application}: {expected}"
