"""In overload no message waits much longer in a queue than ``--queue-time``."""

import pytest

from tests.harness.clients import Sender, frames
from tests.harness.control import status
from tests.harness.numbered import messages
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

SENT = 300_000
# With 1 ms a message and two workers: what is done in ten times the queue time of a second.
MOST_QUEUED = 20_000
KEYS_IN_ONE_SLOT, KEYS_IN_BOTH = 1, 40


@pytest.mark.parametrize("where", ["stateless", "state"])
@pytest.mark.parametrize("keys", [KEYS_IN_ONE_SLOT, KEYS_IN_BOTH])
def test_small_messages_do_not_pile_up(consumer, where, keys):
    arguments = ["--in", "127.0.0.1:0", "--out", consumer.place, "--where", where]
    with Orchestrator(APPS / "paced.py", *arguments) as run:
        Sender(run.address(), frames([f"k{number % keys} {number}" for number in range(SENT)]))
        consumer.wait_count(4000)
        seen = status(run)
        queued = sum(stage["queued"] for stage in seen["stages"])
        assert queued < MOST_QUEUED, seen["stages"]
        assert seen["sources"][0]["messages"] < consumer.count + MOST_QUEUED


def test_work_that_is_quick_is_not_held_up(consumer):
    """The allowance follows what is done, however low it begins."""
    sent = messages(SENT)
    options = ["--queue-time", "1ms"]
    with Orchestrator(APPS / "numbered.py", "--in", "127.0.0.1:0", "--out", consumer.place, options=options) as run:
        sender = Sender(run.address(), frames(sent))
        consumer.wait_count(SENT)
        sender.join()
        run.stop()
