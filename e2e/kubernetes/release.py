"""One installed release of the chart: helm, kubectl, its pods, and catchctl through its Service from outside."""

import json
import subprocess
import time

from machine import Failure, REPOSITORY, command

CHART = REPOSITORY / "helm/catchment"
NAMESPACE = "catchment-test"
NAME = "flows"
FULL = f"{NAME}-catchment"
TOPIC = "flows"
READY_SECONDS = 180


def wait(what, seconds, condition, every=0.25):
    """What `condition()` gives, once that is true; a failure that says what was waited for after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except Failure as failure:
            found, reason = None, failure
        else:
            reason = "not so"
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what}: {reason}")
        time.sleep(every)


class Release:
    """Commands against the release; each refers to its namespace by itself."""

    def __init__(self, machine, programs, values):
        self.machine = machine
        self.programs = programs
        # What each upgrade is given, so that none forgets another's values.
        self.values = dict(values)

    # --- helm ---

    def helm(self, *arguments):
        return command("helm", *arguments, "-n", NAMESPACE, env=self.machine.environment)

    def settings(self, values):
        return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]

    def make_namespace(self):
        """A namespace that takes only pods of the restricted profile."""
        self.kubectl("create", "namespace", NAMESPACE)
        self.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")

    def install(self):
        self.helm("install", NAME, CHART, *self.settings(self.values))

    def upgrade(self, wait_seconds=READY_SECONDS, **values):
        """Changes values (two underscores for each dot) and waits until all pods are as they should be."""
        self.values |= {key.replace("__", "."): value for key, value in values.items()}
        self.helm("upgrade", NAME, CHART, *self.settings(self.values))
        if wait_seconds:
            self.wait_ready(wait_seconds)

    # --- kubectl ---

    def kubectl(self, *arguments):
        return command("kubectl", "-n", NAMESPACE, *arguments, env=self.machine.environment)

    def get(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def pods(self, component):
        selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}"
        return self.get("pods", "-l", selector)["items"]

    def ready_pods(self, component):
        return [pod["metadata"]["name"] for pod in self.pods(component) if is_ready(pod)]

    def wait_ready(self, seconds=READY_SECONDS):
        """Every controller has rolled out what it should, and no pod more is left."""
        deadline = time.monotonic() + seconds
        for kind in ("statefulset", "deployment"):
            for each in self.get(kind)["items"]:
                left = max(1, int(deadline - time.monotonic()))
                self.kubectl("rollout", "status", f"{kind}/{each['metadata']['name']}", f"--timeout={left}s")

        def settled():
            wanted = {each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["replicas"]
                      for kind in ("statefulset", "deployment") for each in self.get(kind)["items"]}
            pods = {component: self.pods(component) for component in wanted}
            return all(len(pods[component]) == count and all(map(is_ready, pods[component]))
                       for component, count in wanted.items())

        wait("as many pods as wanted, all ready", max(1, deadline - time.monotonic()), settled)

    def wait_members(self, seconds=READY_SECONDS):
        """Every node that is ready has a session with a coordinator."""
        def joined():
            return sorted(node["id"] for node in self.nodes() if node["coordinator"]) == sorted(self.ready_pods("node"))

        wait("every node in catchctl nodes", seconds, joined)

    def replace_pods(self, component, *how):
        """Deletes a component's pods, and waits until as many others are ready."""
        before = {pod["metadata"]["uid"] for pod in self.pods(component)}
        # kubectl's own waiting does not end where a pod of the same name is there at once.
        self.kubectl("delete", "pod", "--wait=false", *how, "-l",
                     f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}")

        def replaced():
            pods = self.pods(component)
            return (len(pods) == len(before) and all(map(is_ready, pods))
                    and not before & {pod["metadata"]["uid"] for pod in pods})

        wait(f"other pods in place of {component}'s", READY_SECONDS, replaced)

    def proxied(self, pod, port, path):
        """An answer of a pod's HTTP port, by way of the API server: that works whatever the network is."""
        return self.kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:{port}/proxy{path}")

    def describe(self):
        """What a person would look at first."""
        for arguments in (["get", "pods,svc,pdb,endpointslices", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp"]):
            done = subprocess.run(["kubectl", "-n", NAMESPACE, *arguments], env=self.machine.environment, capture_output=True,
                                  text=True)
            self.machine.say("\n" + "\n".join((done.stdout + done.stderr).splitlines()[-40:]))

    # --- from outside ---

    def node_address(self):
        """An address of a Kubernetes node that has a ready pod: a Service with the policy Local answers there only."""
        pod = next(pod for pod in self.pods("node") if is_ready(pod))
        return pod["status"]["hostIP"]

    def target(self, port="netflow"):
        return f"{self.node_address()}:{self.node_port(FULL, port)}"

    def node_port(self, service, port):
        ports = self.get("service", service)["spec"]["ports"]
        return next(each["nodePort"] for each in ports if each["name"] == port)

    def endpoint(self):
        """A coordinator, through its Service from outside."""
        host = self.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
        return f"http://{host}:{self.node_port(f'{FULL}-coordinator', 'grpc')}"

    def catchctl(self, *arguments):
        return command(self.programs / "catchctl", "--endpoint", self.endpoint(), *arguments, env=self.machine.environment)

    def nodes(self):
        return json.loads(self.catchctl("nodes", "-o", "json"))["nodes"]


def is_ready(pod):
    """Whether a pod gets work: ready, and not about to end."""
    conditions = pod["status"].get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
