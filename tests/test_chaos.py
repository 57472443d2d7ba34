"""A short storm of every kind; ``python -m tests.chaos`` runs long ones."""

import pytest

from tests import chaos

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize(("workers", "seconds"), [(2, 8), (3, 7)])
def test_a_worker_killed_every_200_ms(workers, seconds):
    outcome = chaos.storm(workers, seconds, chaos.kill_one, seed=workers)
    assert outcome.deaths > 0


@pytest.mark.parametrize("name", ["kill-two", "kill-recovering", "freeze", "suspend", "kill-guard", "mixed"])
def test_other_attacks(name):
    chaos.storm(2, 5, chaos.ATTACKS[name], seed=1)
