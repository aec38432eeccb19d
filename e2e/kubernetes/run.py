"""Runs the steps, and says of each how long it took and what it measured."""

import pathlib
import sys
import time

import machine
from accounts import Accounts
from machine import Failure, Machine, NoCluster
from steps import NOT_IN_CI, STEPS, release_for

FIRST = "install"
EX_TEMPFAIL = 75  # there is no cluster, so nothing is known


class Bench:
    """What a step works with."""

    def __init__(self, release, accounts):
        self.release = release
        self.accounts = accounts
        self.say = release.machine.say


def main(documentation):
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        print("\n".join(STEPS))
        return
    if arguments == ["--can"]:
        sys.exit(machine.obstacle())
    if arguments == ["--built"]:
        sys.exit(not machine.is_built())
    if not arguments or arguments[0].startswith("-"):
        print(documentation)
        sys.exit(64)
    programs, names = pathlib.Path(arguments[0]).resolve(), arguments[1:]
    if names == ["--subset", "ci"]:
        names = [name for name in STEPS if name not in NOT_IN_CI]
    if unknown := [name for name in names if name not in STEPS]:
        sys.exit(f"test-k8s: no step {unknown[0]!r}, there are: {' '.join(STEPS)}")
    try:
        if obstacle := machine.obstacle():
            raise Failure(obstacle)
        sys.exit(run(programs, [name for name in STEPS if not names or name in names or name == FIRST]))
    except NoCluster as failure:
        print(f"test-k8s: {failure}", file=sys.stderr)
        sys.exit(EX_TEMPFAIL)
    except Failure as failure:
        sys.exit(f"test-k8s: {failure}")


def run(programs, names):
    """The status to exit with. After a step that failed the others are not run: they would find the cluster as it left it."""
    table = []
    with Machine() as here:
        size = here.image(programs)
        here.say(f"image of {size} loaded")
        release = release_for(here, programs)
        with Accounts(release) as accounts:
            bench = Bench(release, accounts)
            for name in names:
                began = time.monotonic()
                try:
                    figures = STEPS[name](bench)
                except Failure as failure:
                    release.describe()
                    here.say(f"{name} FAILED after {time.monotonic() - began:.0f} s: {failure}")
                    return 1
                table.append(f"{name:20} {time.monotonic() - began:4.0f} s  {figures}")
                here.say(table[-1])
    print("\n".join(table))
    print(f"test-k8s: {len(table)} steps passed, image of {size}")
    return 0
