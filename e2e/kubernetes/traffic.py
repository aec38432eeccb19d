"""Exporters on this machine, each with an address of its own, and the search for every one of their records on Kafka.

`loadtest probe` does both. While something is done to the cluster it runs beside it: `with Load(...) as load: ...`. At the end the
load is told to stop, and `load.account` is what came of it: what was sent, what reached a socket, what came out of Kafka.
"""

import itertools
import json
import signal
import subprocess

from machine import Failure, services
from release import TOPIC, wait

SEEDS = itertools.count(1000)
# No exporter is used twice: what the cluster has learnt of one load (sampling rates) would be wrong for the next.
FIRST_ADDRESSES = itertools.count(1_000, 100)
RECORDS_IN_DATAGRAM = 24
ATTEMPTS = 4
# Records of an exporter.
MOST_UNRATED = 10 * RECORDS_IN_DATAGRAM


class Load:
    """A probe beside what the block does. Each has records and exporters of its own."""

    def __init__(self, bench, rate=20_000, exporters=20, protocol="v9", records=None, more=(), beside=False):
        self.bench = bench
        release = bench.release
        base = release.machine.exporters[next(FIRST_ADDRESSES)]
        self.arguments = [
            str(release.programs / "loadtest"), "probe", "--protocol", protocol, "--exporters", str(exporters),
            "--source-base", str(base), "--seed", str(next(SEEDS)), "--rate", str(rate), "--target", release.target(),
            "--brokers", release.machine.brokers, "--topic", TOPIC, "--idle", "10s", *map(str, more),
            *(["--records", str(records)] if records else ["--duration", "30m"]),
        ]
        self.has_end = records is not None
        self.other_port = "other" in more
        # Of a load beside another one the nodes' ledgers say nothing by themselves (Account.add).
        self.totals = bench.accounts.passing_totals if beside else bench.accounts.totals
        self.first_exporter = base
        self.exporters = exporters
        self.path = release.machine.folder / "load.log"
        self.account = None

    def addresses(self):
        """The exporters' addresses."""
        return {str(self.first_exporter + number) for number in range(self.exporters)}

    def __enter__(self):
        self.before = self.totals()
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            env=services.marked_environment(self.bench.release.machine.folder))
        wait("load at the nodes", 60, lambda: self.bench.accounts.arrived() > self.before["arrived"] + 500)
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.process.kill()
            self.process.wait()
            return
        if not self.has_end:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=600)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("the exporters do not end") from None
        text = self.path.read_text()
        last = text.strip().splitlines()[-1:] or [""]
        if not last[0].startswith('{"probe"'):
            raise Failure(f"{' '.join(self.arguments)}:\n{text[-2000:]}")
        self.account = Account(json.loads(last[0])["probe"], self.before, self.totals(), self.addresses())
        if self.other_port:
            self.account.may_be_unrated = self.exporters * MOST_UNRATED


def exact(bench, **options):
    """The account of a load of which nothing is lost. Where the cluster gave datagrams to nobody (a probe that came late on a busy
    machine is enough), another one is sent: that is not what is tested. What reached a socket must be there each time."""
    for _ in range(ATTEMPTS):
        with Load(bench, **options) as load:
            pass
        load.account.must_be_accounted()
        if not load.account.missing:
            return load.account
        bench.say(f"once more: {load.account}")
    raise Failure(f"{ATTEMPTS} times something was lost, at last: {load.account}")


class Account:
    """What became of a load."""

    def __init__(self, probe, before, after, addresses):
        self.addresses = addresses
        self.may_be_unrated = 0
        self.sent = probe["sent"]
        self.found = probe["verified"]
        self.nodes = {name: after[name] - before[name] for name in after}
        self.missing = self.found["missing"]
        # Sent, and at no socket: the cluster's load balancing gave them to nobody.
        self.astray = self.sent["datagrams"] - self.nodes["arrived"]

    def add(self, other):
        """`other` was sent meanwhile, and is in the nodes' ledgers as well."""
        self.sent = self.sent | {name: self.sent[name] + other.sent[name] for name in ("datagrams", "records", "send_errors")}
        # Each is among what the other one calls the records of others.
        counted = {name: self.found[name] + other.found[name]
                   for name in ("correct", "missing", "different", "repeated", "bad_messages")}
        self.found = self.found | counted | {"others": 0}
        self.missing = self.found["missing"]
        self.astray = self.sent["datagrams"] - self.nodes["arrived"]

    def must_be_accounted(self, killed=None):
        """Every datagram that reached a socket became records, and all of these are on Kafka, once and as sent. Of a node that was
        killed this is the last ledger that it showed: what it had in flight then may be lost, what it did later is in no ledger."""
        found, nodes = self.found, self.nodes
        gone = killed["streams"]["flow"]["in_flight"] if killed else 0
        # Data waits for its template, not for the sampling rate, which an exporter says in another set: what comes from another port
        # than that may be decoded between the two.
        fields = found["different_fields"]
        unrated = found["different"] if set(fields) <= {"sampling_rate"} and found["different"] <= self.may_be_unrated else 0
        off_the_record = nodes["produced"] - found["correct"] - unrated
        if killed:
            off_the_record = max(0, off_the_record - gone)
        faults = [
            (found["different"] - unrated + found["repeated"] + found["bad_messages"], "records are not as sent"),
            (found["others"], "records are nobody's"),
            (self.sent["send_errors"], "datagrams could not be sent"),
            (nodes["dropped"] + nodes["rejected"] + nodes["expired"] + nodes["evicted"] + nodes["sets_rejected"],
             "datagrams, sets or records were given up"),
            (nodes["pending"], "sets wait"),
            (off_the_record, "records that nodes made are not on Kafka"),
            (min(0, self.astray), "more datagrams arrived than were sent"),
        ]
        lost = self.astray + nodes["kernel_dropped"]
        if self.missing > lost * RECORDS_IN_DATAGRAM + gone:
            faults.append((self.missing, f"records are missing, but only {lost} datagrams"))
        said = [f"{count} {what}" for count, what in faults if count]
        if said:
            raise Failure("; ".join(said) + f": {self} {nodes} {found['examples']}")

    def __str__(self):
        sent = self.sent
        return (f"{sent['datagrams']:,} datagrams, {sent['records']:,} records sent in {sent['seconds']:.0f} s; "
                f"{self.astray} datagrams at no socket, {self.nodes['kernel_dropped']} dropped by a kernel, "
                f"{self.missing} records missing")
