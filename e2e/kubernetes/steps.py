"""The steps, in the order in which they run. Each leaves the release as it found it: two nodes, two coordinators, etcd, all well.

A step takes the bench and gives its figures as text; it fails by `Failure`.
"""

import contextlib
import datetime
import itertools
import json
import subprocess
import time

from machine import Failure, REPOSITORY, command
from release import CHART, FULL, NAME, NAMESPACE, TOPIC, Release, is_ready, wait
from traffic import ATTEMPTS, Load, exact

STEPS = {}
# Left out of continuous integration: nothing yet.
NOT_IN_CI = set()
IDLE_MEMORY = 64 * 2**20
INSTALL_SECONDS = 60
CAPTURES = sorted((REPOSITORY / "testdata").glob("*.pcap"))
# Of the exporters of a load: templates from another port than data, never again.
OTHER_PORT = ["--template-port", "other", "--templates-every", "once"]
FIRST_CAPTURE = 101  # their exporters' addresses begin here
EXPORTERS_OF_CAPTURES = 20  # at most


def step(function):
    STEPS[function.__name__.replace("_", "-")] = function
    return function


@step
def install(bench):
    """From nothing to the first record that is verified on Kafka."""
    release = bench.release
    release.make_namespace()
    began = time.monotonic()
    release.install()
    wait("a node to be ready", 180, lambda: release.ready_pods("node"))
    attempts = 0

    def verified():
        nonlocal attempts
        attempts += 1
        probe = subprocess.run(
            [release.programs / "loadtest", "probe", "--exporters=1", f"--source-base={release.machine.exporters[1]}",
             "--records=24", f"--seed={attempts}", f"--target={release.target()}", f"--brokers={release.machine.brokers}",
             f"--topic={TOPIC}", "--idle=2s"], capture_output=True, text=True)
        return probe.returncode == 0

    wait("a verified record", 120, verified)
    seconds = time.monotonic() - began
    release.wait_ready()
    release.wait_members()
    if seconds > INSTALL_SECONDS:
        raise Failure(f"{seconds:.1f} s from install to the first verified record, {INSTALL_SECONDS} are allowed")
    return f"{seconds:.1f} s from helm install to the first verified record"


@step
def idle_memory(bench):
    """What each pod takes when nothing is to do."""
    release = bench.release
    names = {pod["metadata"]["name"] for component in ("node", "coordinator", "etcd") for pod in release.pods(component)}
    settled = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=10)

    def measured():
        found = {}
        for node in {pod["spec"]["nodeName"] for pod in release.pods("node")}:
            summary = json.loads(release.kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
            for pod in summary["pods"]:
                memory = pod.get("memory", {})
                is_recent = "time" in memory and datetime.datetime.fromisoformat(memory["time"].replace("Z", "+00:00")) > settled
                if pod["podRef"]["namespace"] == NAMESPACE and is_recent and memory.get("workingSetBytes"):
                    found[pod["podRef"]["name"]] = pod["memory"]["workingSetBytes"]
        ours = {name: found[name] for name in names if name in found}
        return ours if {name for name in names if "node" in name or "coordinator" in name} <= set(ours) else None

    memory = wait("the kubelet's figures of all pods", 90, measured, every=2)
    said = ", ".join(f"{name.removeprefix(FULL + '-')} {size / 2**20:.0f} MiB" for name, size in sorted(memory.items()))
    if max(memory.values()) > IDLE_MEMORY:
        raise Failure(f"a pod takes more than 64 MiB: {said}")
    return said


@step
def exporters(bench):
    """Twenty exporters of all protocols: each field of each record, their own addresses among them. Templates come from another
    port than data, and once: half of them to another pod than their data."""
    release = bench.release
    account = exact(bench, rate=5_000, protocol="v9,ipfix,v5,sflow", records=40_000, more=OTHER_PORT)
    nodes = account.found["nodes"]
    if len(nodes) < 2:
        raise Failure(f"all exporters came to one node: {nodes}")
    def known():
        shown = json.loads(release.catchctl("exporters", "--prefix", str(release.machine.exporters), "-o", "json"))
        return account.addresses <= {each["address"] for each in shown["exporters"]}

    wait("all exporters in catchctl exporters", 60, known)
    learnt = {pod: shared_templates(release, pod, account.addresses) for pod in release.ready_pods("node")}
    if not any(learnt.values()):
        raise Failure("no pod had a template from another one")
    return f"{account.found['expected']:,} records of 20 exporters at {len(nodes)} nodes; {sum(learnt.values())} templates of other pods"


def shared_templates(release, pod, addresses):
    """How many templates a pod has from the cluster, of these exporters."""
    asked = release.kubectl("exec", pod, "--", "catchctl", "--node-endpoint", "http://127.0.0.1:7401", "templates", "-o", "json")
    return sum(each["origin"] == "cluster" and each["key"]["exporter"] in addresses for each in json.loads(asked)["templates"])


@step
def captures(bench):
    """What real exporters sent: as many records as `decode` finds in the files, and each exporter at its own address."""
    release = bench.release
    decoded = subprocess.run([release.programs / "ingest-node", "decode", *CAPTURES], capture_output=True, text=True)
    records = int(decoded.stderr.split("records: flow ", 1)[1].split(",", 1)[0])
    for first in range(FIRST_CAPTURE, FIRST_CAPTURE + ATTEMPTS * EXPORTERS_OF_CAPTURES, EXPORTERS_OF_CAPTURES):
        found, sent = replayed(bench, first)
        if found["arrived"] == sent:
            break
        # As for a load (traffic.exact).
        bench.say(f"once more: {sent} datagrams of captures sent, {found['arrived']} arrived")
    if [found[name] for name in ("arrived", "delivered", "pending", "dropped", "rejected")] != [sent, records, 0, 0, 0]:
        raise Failure(f"{sent} datagrams sent, decode finds {records} records in them, the nodes: {found}")
    addresses = (str(release.machine.exporters[number]) for number in itertools.count(first))
    expected = dict(zip(addresses, captured_datagrams()))

    def shown():
        # Exporters' own figures come a moment after the totals.
        known = exporter_datagrams(bench)
        if wrong := {address: known.get(address) for address, count in expected.items() if known.get(address) != count}:
            raise Failure(f"of {wrong} other counts were sent: {expected}")
        return True

    wait("each exporter's datagrams under its own address", 30, shown)
    return f"{records:,} records of {len(CAPTURES)} captures"


def replayed(bench, first):
    """What the nodes counted of all captures, sent from addresses that begin at `first`; and how many datagrams were sent."""
    before = bench.accounts.totals()
    replay = command(bench.release.programs / "loadtest", "replay", *CAPTURES, "--source-base",
                     bench.release.machine.exporters[first], "--target", bench.release.target(), "--rate", "300")
    sent = json.loads(replay.strip().splitlines()[-1])["replay"]["datagrams"]

    def counted():
        after = bench.accounts.totals()
        return {name: after[name] - before[name] for name in after}

    with contextlib.suppress(Failure):
        wait("every datagram and every set", 20, lambda: (counted()["arrived"], counted()["pending"]) == (sent, 0), every=1)
    return counted(), sent


def captured_datagrams():
    """Datagrams of each exporter of the captures, in the order in which they appear: so `replay` numbers their addresses."""
    names, *rows = [line.split("\t") for line in (REPOSITORY / "testdata/MANIFEST.tsv").read_text().splitlines()]
    of_file = {row[0]: dict(zip(names, row)) for row in rows}
    sums = {}
    for path in CAPTURES:
        row = of_file[path.name]
        sums[row["exporter"]] = sums.get(row["exporter"], 0) + int(row["datagrams"])
    return list(sums.values())


def exporter_datagrams(bench):
    """Datagrams of each exporter by address, over all nodes that run."""
    sums = {}
    for pod in bench.release.ready_pods("node"):
        for line in bench.release.proxied(pod, 8081, "/metrics").splitlines():
            if line.startswith("catchment_exporter_datagrams_total{"):
                labels, value = line.rsplit(" ", 1)
                address = labels.split('exporter="', 1)[1].split('"', 1)[0]
                sums[address] = sums.get(address, 0) + int(float(value))
    return sums


@step
def helm_test(bench):
    """`helm test`: the chart's own pod."""
    began = time.monotonic()
    try:
        bench.release.helm("test", NAME, "--timeout", "180s")
    except Failure as failure:
        logs = subprocess.run(["kubectl", "-n", NAMESPACE, "logs", f"{FULL}-test", "--all-containers", "--prefix"],
                              env=bench.release.machine.environment, capture_output=True, text=True)
        raise Failure(f"{failure}\n{logs.stdout[-3000:]}") from None
    bench.release.kubectl("delete", "pod", "--wait=false", f"{FULL}-test")
    return f"{time.monotonic() - began:.0f} s"


@step
def catchctl(bench):
    """From outside, through a Service; and in a coordinator's pod, as NOTES.txt says."""
    release = bench.release
    names = {node["id"] for node in release.nodes()}
    expected = {pod["metadata"]["name"] for pod in release.pods("node")}
    if names != expected:
        raise Failure(f"catchctl nodes shows {names}, the pods are {expected}")
    wait("catchctl health to say that all is well", 60, lambda: release.catchctl("health"))
    inside = release.kubectl("exec", f"deploy/{FULL}-coordinator", "--", "catchctl", "nodes", "-o", "json")
    if {node["id"] for node in json.loads(inside)["nodes"]} != expected:
        raise Failure(f"catchctl in a pod: {inside}")
    return f"{len(names)} nodes"


@step
def upgrade(bench):
    """Every pod is replaced under load."""
    release = bench.release
    before = set(bench.accounts.containers())
    with Load(bench) as load:
        stamp = str(int(time.time()))
        release.upgrade(node__podAnnotations__rolled=f"at-{stamp}", coordinator__podAnnotations__rolled=f"at-{stamp}")
        release.wait_members()
    if before & set(bench.accounts.containers()):
        raise Failure("a pod was not replaced")
    load.account.must_be_accounted()
    return str(load.account)


@step
def pod_killed(bench):
    """A node is killed under load (SIGKILL): nothing but what it held is lost, and what comes after it is all there."""
    release = bench.release
    victim = release.ready_pods("node")[0]
    with Load(bench) as load:
        container = bench.accounts.before_kill(victim)
        release.machine.kill(container)
        wait("another container in its place", 120, lambda: container not in bench.accounts.containers())
        release.wait_ready()
        release.wait_members()
    account = load.account
    account.must_be_accounted(killed=bench.accounts.killed[container])
    exact(bench, records=20_000, rate=5_000)
    return f"{account.missing:,} of {account.sent['records']:,} records lost with the pod; exact after it"


@step
def scale(bench):
    """2 -> 4 -> 2 under load: an exporter stays with its pod, new ones come to new pods, and pods that go hand theirs over."""
    release = bench.release
    with Load(bench, rate=10_000) as load:
        release.upgrade(node__replicas=4)
        release.wait_members()
        stayed = {pod: bench.accounts.read(pod)["datagrams"]["arrived"] for pod in release.ready_pods("node")}
        with Load(bench, rate=5_000, exporters=40, records=40_000, beside=True) as newcomers:
            pass
        new = [pod for pod in release.ready_pods("node") if pod.endswith(("-2", "-3"))]
        counts = {pod: bench.accounts.read(pod)["datagrams"]["arrived"] for pod in new}
        release.upgrade(node__replicas=2)
        release.wait_members()
    load.account.add(newcomers.account)
    load.account.must_be_accounted()
    if newcomers.account.missing:
        raise Failure(f"new exporters lost records: {newcomers.account}")
    if not all(counts.values()):
        raise Failure(f"a new pod got no new exporter: {counts}")
    if any(stayed[pod] for pod in new):
        raise Failure(f"an exporter moved to a new pod although its own was ready: {stayed}")
    return f"new pods got {counts}; {load.account}"


@step
def drain(bench):
    """`kubectl drain` goes as far as the PodDisruptionBudget lets it: a node takes datagrams all the time."""
    release = bench.release
    machine = next(pod for pod in release.pods("node") if is_ready(pod))["spec"]["nodeName"]
    selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=node"
    with Load(bench, rate=5_000) as load:
        process = subprocess.Popen(
            ["kubectl", "drain", machine, "--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={selector}",
             "--timeout=40s"], env=release.machine.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        before = {pod["metadata"]["uid"] for pod in release.pods("node")}
        try:
            while process.poll() is None:
                left = {pod["metadata"]["uid"] for pod in release.pods("node") if "deletionTimestamp" not in pod["metadata"]}
                before &= left
                time.sleep(0.5)
        finally:
            release.kubectl("uncordon", machine)
        said = process.stdout.read()
        release.wait_ready()
        release.wait_members()
    # With other machines the second pod may go once the first is ready there; with one machine it has to stay.
    alone = len(release.get("nodes")["items"]) == 1
    if alone and (process.returncode == 0 or "disruption budget" not in said or not before):
        raise Failure(f"nothing held the drain: status {process.returncode}, {len(before)} pods stayed\n{said}")
    load.account.must_be_accounted()
    return f"held by the budget; {load.account}"


@step
def coordinators_killed(bench):
    """All coordinators at once, under load: nodes go on with what they know."""
    return disturbed(bench, "coordinator")


@step
def etcd_killed(bench):
    """etcd goes with all that it kept, under load: what nodes and coordinators know is there again."""
    return disturbed(bench, "etcd")


def disturbed(bench, component):
    """Nothing is lost while a part of the control plane is away, and what is learnt afterwards is shared."""
    with Load(bench) as load:
        bench.release.replace_pods(component, "--force", "--grace-period=0")
        bench.release.wait_ready()
        bench.release.wait_members()
    load.account.must_be_accounted()
    exact(bench, rate=5_000, records=20_000, more=OTHER_PORT)
    return str(load.account)


@step
def no_coordinator(bench):
    """A node that starts without any coordinator takes datagrams, and says what it misses."""
    release = bench.release
    release.kubectl("scale", f"deploy/{FULL}-coordinator", "--replicas=0")
    wait("no coordinator", 60, lambda: not release.pods("coordinator"))
    release.replace_pods("node")
    detail = release.proxied(release.ready_pods("node")[0], 8081, "/readyz")
    if not detail.startswith("ready\ndegraded: coordinator: "):
        raise Failure(f"/readyz of a node without a coordinator: {detail!r}")
    # Asked by itself, and from within: no coordinator knows it.
    asked = release.kubectl("exec", release.ready_pods("node")[0], "--", "catchctl", "--node-endpoint", "http://127.0.0.1:7401",
                            "nodes", "-o", "json")
    node = json.loads(asked)["nodes"][0]
    if node["coordinator"] or not any("coordinator: " in reason for reason in node["health"]["degraded"]):
        raise Failure(f"catchctl nodes: {asked}")
    # Pods share nothing now: an exporter that moves has to say its templates again.
    exact(bench, records=20_000, rate=5_000, more=["--templates-every", "1"])
    release.kubectl("scale", f"deploy/{FULL}-coordinator", "--replicas=2")
    release.wait_ready()
    release.wait_members()
    return detail.strip().splitlines()[1]


@step
def wrong_values(bench):
    """What cannot work is refused, and the key named: by helm where it can know, by the node where only that does."""
    release = bench.release
    for values, said in (
        ({"kafka.brokers": "null"}, "kafka.brokers is not set"),
        ({"node.replicsa": "2"}, "replicsa"),
        ({"node.replicas": "two"}, "/node/replicas"),
    ):
        try:
            release.helm("upgrade", NAME, CHART, *release.settings(release.values | values))
        except Failure as failure:
            if said not in str(failure):
                raise
        else:
            raise Failure(f"{values} was taken")
    release.upgrade(wait_seconds=0, node__config__kafka__brokres="kafka-1:9092")

    def refused():
        # Of two pods the last is replaced first, and the other one goes on.
        logs = subprocess.run(["kubectl", "-n", NAMESPACE, "logs", f"{FULL}-node-1"], env=release.machine.environment,
                              capture_output=True, text=True)
        return "kafka.brokres: unknown key" in logs.stdout

    wait("the new pod to name the unknown key", 90, refused, every=1)
    if not release.ready_pods("node"):
        raise Failure("no node is left")
    del release.values["node.config.kafka.brokres"]
    release.upgrade(wait_seconds=0)
    def taken_over():
        nodes = release.get("statefulset", f"{FULL}-node")
        return nodes["status"]["observedGeneration"] == nodes["metadata"]["generation"]

    wait("the right configuration to be seen", 60, taken_over)
    # A StatefulSet waits for its broken pod, whatever its template says now.
    release.kubectl("delete", "pod", "--wait=false", f"{FULL}-node-1")
    release.wait_ready()
    release.wait_members()
    return "refused"


@step
def certificates(bench):
    """With certificates on the gRPC ports: probes go on without, nodes and coordinators trust each other, catchctl in a pod as well."""
    release = bench.release
    folder = release.machine.folder / "certificates"
    folder.mkdir()
    key, certificate = folder / "tls.key", folder / "tls.crt"
    names = [f"{FULL}-coordinator", f"{FULL}-node", f"*.{FULL}-node"]
    # One that signs for itself is its own authority.
    command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
            "-subj", "/CN=flows", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
            "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth,clientAuth",
            "-keyout", key, "-out", certificate)
    release.kubectl("create", "secret", "generic", "grpc", f"--from-file=tls.crt={certificate}", f"--from-file=tls.key={key}",
                    f"--from-file=ca.crt={certificate}")
    release.upgrade(tls__enabled="true", tls__secretName="grpc")

    def joined():
        shown = release.kubectl("exec", f"deploy/{FULL}-coordinator", "--", "catchctl", "nodes", "-o", "json")
        return {node["id"] for node in json.loads(shown)["nodes"] if node["coordinator"]} == set(release.ready_pods("node"))

    wait("every node in catchctl nodes, over TLS", 120, joined, every=1)
    exact(bench, records=20_000, rate=5_000)
    del release.values["tls.enabled"], release.values["tls.secretName"]
    release.upgrade()
    release.wait_members()
    return "nodes, coordinators and catchctl over TLS"


@step
def custom_resources(bench):
    """Objects that need CRDs are left out where the cluster has none."""
    values = {"podMonitor.enabled": "true"}
    groups = bench.release.kubectl("api-resources", "-o", "name")
    rendered = bench.release.helm("upgrade", NAME, CHART, "--dry-run=server",
                                  *bench.release.settings(bench.release.values | values))
    has = "podmonitors.monitoring.coreos.com" in groups
    if ("kind: PodMonitor" in rendered) != has:
        raise Failure(f"PodMonitor in the cluster: {has}; rendered: {not has}")
    return "PodMonitor " + ("made" if has else "left out")


@step
def uninstall(bench):
    """Nothing is left, and every node ends with a ledger that balances."""
    release = bench.release
    before = bench.accounts.totals()
    release.helm("uninstall", NAME, "--wait", "--timeout", "120s")
    wait("no pod", 120, lambda: not any(release.pods(component) for component in ("node", "coordinator", "etcd")))
    after = bench.accounts.totals()
    if before["delivered"] != after["delivered"]:
        raise Failure(f"{before} became {after}")
    return f"{after['delivered']:,} records were delivered in total"


def release_for(machine, programs):
    """The release that all steps are about."""
    values = {
        "kafka.brokers": machine.brokers, "kafka.topic": TOPIC, "service.type": "NodePort",
        "etcd.bundled.enabled": "true", **machine.etcd_image(),
        "coordinator.service.type": "NodePort",
        # Many parts on one small machine.
        "node.resources.requests.cpu": "50m", "node.resources.requests.memory": "64Mi",
        "node.config.metrics.top_exporters": "200",
    }
    return Release(machine, programs, values)
