"""Leaves a daemon behind: two forks and a session of its own, so that neither group nor parent leads to its worker."""

import subprocess
import sys

import numbered

DAEMON = "import os, signal; os.setsid(); os.fork() and os._exit(0); signal.pause()"


def misbehave():
    subprocess.run([sys.executable, "-c", DAEMON], check=True)
    subprocess.Popen(["sleep", "1000"], start_new_session=True)


def application_setup(args):
    return numbered.build(args, misbehave)
