"""100,000 quotes and 50,000 orders with 1, 2 and 3 workers: ``python -m tests.market_spread_full``."""

import time

from tests.harness.clients import Consumer
from tests.harness.examples import market_spread

QUOTES, ORDERS = 100_000, 50_000


def main():
    for workers in (1, 2, 3):
        started = time.monotonic()
        with Consumer() as consumer:
            rejected = market_spread(consumer, QUOTES, ORDERS, workers=workers)
        seconds = time.monotonic() - started
        print(
            f"{workers} workers: {rejected:,} of {ORDERS:,} orders rejected, as the model has it; {seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
