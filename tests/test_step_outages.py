"""A step whose calls hang for every message, because what it calls is away: no message is given up."""

import os

import pytest

from tests.harness.clients import frames, send
from tests.harness.control import status
from tests.harness.numbered import by_key, expected, messages
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

SENT = messages(2_000)


@pytest.mark.parametrize("where", ["stateless", "state"])
def test_a_step_that_is_out_waits_and_goes_on(consumer, tmp_path, where):
    away = tmp_path / "away"
    environment = {**os.environ, "SERVICE_AWAY": str(away)}
    arguments = ["--in", "127.0.0.1:0", "--out", consumer.place, "--where", where]
    options = ["--step-timeout", "500ms"]
    with Orchestrator(APPS / "needs_service.py", *arguments, environment=environment, options=options) as run:
        send(run.address(), frames(SENT[:1_000]))
        consumer.wait_count(1_000)
        away.touch()
        send(run.address(), frames(SENT[1_000:]))
        for count in range(1, 4):
            run.wait_for("does not answer", count=count)
        assert any("does not answer" in problem for problem in status(run)["problems"])
        away.unlink()
        consumer.wait_count(2_000)
        run.wait_for("answers again")
        assert status(run)["problems"] == []
        run.stop()
        assert run.summary()["dead_letters"] == 0
    assert by_key(consumer.lines()) == expected(SENT)
