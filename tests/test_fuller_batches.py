"""Steps whose batches are limited, or wait to be fuller."""

from tests.harness.clients import frames, send
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS


def run_app(consumer, *limits):
    return Orchestrator(APPS / "fills_batches.py", "--in", "127.0.0.1:0", "--out", consumer.place, *limits, workers=1)


def sizes(consumer):
    return [int(line.split()[1]) for line in consumer.lines()]


def test_a_call_waits_until_its_batch_is_full(consumer):
    with run_app(consumer, "--max-batch", "50", "--max-wait-ms", "3600000") as run:
        for number in range(100):
            send(run.address(), frames([str(number)]))
        consumer.wait_count(100)
        run.stop()
    assert sizes(consumer) == [50] * 100


def test_a_message_waits_for_others_for_so_long_only(consumer):
    with run_app(consumer, "--max-batch", "1000", "--max-wait-ms", "50") as run:
        send(run.address(), frames(["alone"]))
        consumer.wait_count(1)
        run.stop()


def test_a_call_gets_no_more_than_its_limit(consumer):
    with run_app(consumer, "--max-batch", "7") as run:
        send(run.address(), frames([str(number) for number in range(1_000)]))
        consumer.wait_count(1_000)
        run.stop()
    assert max(sizes(consumer)) <= 7
