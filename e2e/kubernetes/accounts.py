"""The ledgers of all nodes that ever ran, those that have ended among them, added up.

A node shows its ledger at /metrics.json while it runs, and prints it as its last JSON line. The log of each container is followed
from its start, so that the last word of one that has ended is known. A node that is killed has no last word: what it had counted
just before stands for it.
"""

import json
import subprocess
import threading
import time

from machine import Failure, services
from release import NAMESPACE, wait

TOTALS = ("arrived", "received", "kernel_dropped", "rejected", "produced", "delivered", "in_flight", "dropped",
          "pending", "expired", "evicted", "sets_rejected", "released")


def totals_of(ledger):
    datagrams, sets, flow = ledger["datagrams"], ledger["sets"], ledger["streams"]["flow"]
    return {
        **{name: datagrams[name] for name in ("arrived", "received", "kernel_dropped", "rejected")},
        **{name: flow[name] for name in ("produced", "delivered", "in_flight", "dropped")},
        **{name: sets[name] for name in ("pending", "expired", "evicted", "released")},
        "sets_rejected": sets["rejected"],
    }


def faults_of(ledger):
    """Each equation of the ledger that does not hold."""
    datagrams, sets = ledger["datagrams"], ledger["sets"]
    sums = {
        "datagrams arrived": (datagrams["arrived"], datagrams["received"] + datagrams["kernel_dropped"]),
        "datagrams received": (datagrams["received"],
                               datagrams["decoded"] + datagrams["partly_decoded"] + datagrams["rejected"]),
        "sets seen": (sets["seen"], sum(sets[name] for name in ("decoded", "pending", "expired", "evicted", "rejected"))),
    }
    for name, stream in ledger["streams"].items():
        sums[f"{name} records"] = (stream["produced"] + stream["recovered"],
                                   sum(stream[part] for part in ("delivered", "in_flight", "on_disk", "dropped")))
    return [f"{name}: {left} in, {right} accounted for" for name, (left, right) in sums.items() if left != right]


class Accounts:
    """Follows the node's containers and adds their ledgers up."""

    def __init__(self, release):
        self.release = release
        self.followed = {}  # container id -> (pod, the process that follows its log, its log)
        self.killed = {}  # container id -> the last ledger of a node that was killed
        self.served = set()  # ids of those that were ready once
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        for _, process, _ in self.followed.values():
            process.kill()
            process.wait()

    def _follow(self):
        while not self.stopping.wait(1):
            try:
                self.look()
            except Failure:
                continue  # the API server is there again in a moment, or the steps say so

    def look(self):
        """Begins to follow what is new."""
        for pod in self.release.pods("node"):
            for status in pod["status"].get("containerStatuses", []):
                running = status["state"].get("running")
                if status["ready"]:
                    self.served.add(status["containerID"])
                if running and status.get("containerID") not in self.followed:
                    self._begin(pod["metadata"]["name"], status["containerID"])

    def _begin(self, pod, container):
        machine = self.release.machine
        path = machine.folder / f"{pod}-{container[-12:]}.log"
        with open(path, "wb") as log:
            process = subprocess.Popen(
                ["kubectl", "-n", NAMESPACE, "logs", "-f", pod], env=services.marked_environment(
                    machine.folder, **{key: machine.environment[key] for key in ("KUBECONFIG", "PATH")}),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.followed[container] = (pod, process, path)

    def read(self, pod):
        """The ledger of a node that runs."""
        return json.loads(self.release.proxied(pod, 8081, "/metrics.json"))["ledger"]

    def before_kill(self, pod):
        """This node is about to be killed; gives its container."""
        container = next(container for container, name in self.containers().items() if name == pod)
        self.killed[container] = self.read(pod)
        return container

    def containers(self):
        """The containers that run now: id -> pod."""
        return {status["containerID"]: pod["metadata"]["name"] for pod in self.release.pods("node")
                for status in pod["status"].get("containerStatuses", []) if status["state"].get("running")}

    def ledgers(self):
        """The ledger of each container, by its id."""
        self.look()
        running = self.containers()
        found = {}
        for container, (pod, process, path) in list(self.followed.items()):
            if container in self.killed:
                found[container] = self.killed[container]
            elif container in running:
                found[container] = self.read(pod)
            elif container in self.served:
                found[container] = self._last_word(pod, process, path)
            # One that was never ready took nothing, and may have ended for a wrong configuration.
        return found

    def _last_word(self, pod, process, path):
        deadline = time.monotonic() + 30
        while True:
            ended = process.poll() is not None
            lines = [line for line in path.read_text(errors="replace").splitlines() if line.startswith('{"ledger"')]
            if lines:
                return json.loads(lines[-1])["ledger"]
            if ended or time.monotonic() > deadline:
                raise Failure(f"{pod} ended without a ledger:\n{services.tail(path)}")
            time.sleep(0.2)

    def arrived(self):
        """Datagrams at all sockets so far, while more are on their way."""
        return self.passing_totals()["arrived"]

    def totals(self):
        """Everything added up, once nothing is on its way any more. Every ledger must balance then."""
        def settled():
            ledgers = self.ledgers()
            faults = [f"{self.followed[container][0]}: {fault}"
                      for container, ledger in ledgers.items() for fault in faults_of(ledger)]
            if faults:
                raise Failure("; ".join(faults))
            sums = self._sums(ledgers)
            return sums if sums["in_flight"] == 0 else None

        return wait("every ledger balanced and nothing in flight", 60, settled, every=1)

    def passing_totals(self):
        """The same at a moment in which more is on its way."""
        return self._sums(self.ledgers())

    def _sums(self, ledgers):
        sums = {name: 0 for name in TOTALS}
        for container, ledger in ledgers.items():
            totals = totals_of(ledger)
            if container in self.killed:
                totals["in_flight"] = 0  # for ever
            for name, value in totals.items():
                sums[name] += value
        return sums
