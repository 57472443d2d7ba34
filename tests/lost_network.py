"""Takes the network between a sink and its consumer away: ``unshare -n python -m tests.lost_network``.

It needs a network of its own, whose loopback device it switches off and on again. The last line printed is ``ok``.
"""

import subprocess
import sys

from tests.harness.clients import Consumer
from tests.harness.orchestrator import Orchestrator
from tests.harness.places import APPS

COUNT = 100


def loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def main() -> int:
    loopback("up")
    with Consumer() as consumer:
        with Orchestrator(APPS / "stdin_to_tcp.py", "--out", consumer.place, stdin=subprocess.PIPE) as run:
            source = run.ready().process.stdin
            source.write(b"".join(b"%d\n" % number for number in range(COUNT)))
            source.flush()
            consumer.wait_count(COUNT)
            loopback("down")
            source.write(b"".join(b"%d\n" % number for number in range(COUNT, 2 * COUNT)))
            source.flush()
            print(run.wait_for("sink is down")["error"], file=sys.stderr)
            loopback("up")
            consumer.wait_count(2 * COUNT)
            source.close()
            assert run.wait() == 0, run.log()
    assert consumer.lines() == [str(number) for number in range(2 * COUNT)]
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
