"""What the test needs around it: a cluster, Kafka where pods reach it, addresses for exporters, the image in the cluster.

However the test ends, what it started goes: a process that waits for the end of this one takes it all down (as `dev/services
run` does for its services).
"""

import contextlib
import fcntl
import importlib.machinery
import importlib.util
import ipaddress
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = pathlib.Path(os.environ.get("CATCHMENT_SHARED") or REPOSITORY.parent / "shared")
CLUSTER = SHARED / "kubernetes/cluster.sh"
KUBE_CACHE = pathlib.Path(os.environ.get("CACHE") or pathlib.Path.home() / ".cache/kube-node")
CLUSTER_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl",
                    "etcd", "helm", "coredns")
COMMAND_SECONDS = 600
MOST_CLUSTERS = 16  # at once on one machine

LOADER = importlib.machinery.SourceFileLoader("services", str(REPOSITORY / "dev/services"))
services = importlib.util.module_from_spec(importlib.util.spec_from_loader("services", LOADER))
LOADER.exec_module(services)
Failure = services.Failure


class NoCluster(Failure):
    """What should have been there for the test is not; nothing is known of what it is about."""


def command(*arguments, **options):
    """Runs a command and gives what it printed; a failure says what it complained about."""
    try:
        done = subprocess.run([str(argument) for argument in arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=COMMAND_SECONDS, **options)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(map(str, arguments))}: no end after {COMMAND_SECONDS} s") from None
    if done.returncode != 0:
        raise Failure(f"{' '.join(map(str, arguments))}: status {done.returncode}\n{done.stderr[-3000:]}{done.stdout[-1000:]}")
    return done.stdout


def obstacle():
    """Why no test can run here; None where it can."""
    if os.environ.get("KUBECONFIG"):
        missing = [name for name in ("LOAD", "HOST", "EXPORTERS", "KILL") if not os.environ.get(f"CATCHMENT_K8S_{name}")]
        return f"CATCHMENT_K8S_{missing[0]} is not set" if missing else None
    if not CLUSTER.is_file():
        return f"no KUBECONFIG, and no {CLUSTER.name} in {SHARED.name}/kubernetes"
    if os.geteuid() != 0:
        return "a cluster of one's own needs root"
    if not pathlib.Path("/sys/fs/cgroup/memory").is_dir():
        return "cluster.sh knows cgroup v1 only"
    tried = subprocess.run(["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "true"],
                           capture_output=True, text=True)
    if tried.returncode != 0:
        return f"no namespaces here: {tried.stderr.strip()}"
    return None


def is_built():
    """Whether a cluster of one's own starts without compiling for some minutes."""
    return bool(os.environ.get("KUBECONFIG")) or all((KUBE_CACHE / "bin" / name).is_file() for name in CLUSTER_PROGRAMS)


class Machine:
    """The cluster and what stands beside it. A context manager: everything is gone afterwards."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="catchment-k8s-"))
        self.own = not os.environ.get("KUBECONFIG")
        self.lock = None
        if self.own:
            number = self._slot()
            self.host = f"10.77.{number}.1"
            self.exporters = ipaddress.ip_network(f"10.{128 + number}.0.0/16")
            self.settings = {
                "CACHE": str(KUBE_CACHE), "DNS": "1", "HOST_IP": self.host, "NODE_IP": f"10.77.{number}.2",
                "POD_CIDR": f"10.244.{number}.0/24", "SVC_CIDR": f"10.96.{number}.0/24",
            }
            self.kubeconfig = self.folder / "node/admin.kubeconfig"
        else:
            self.host = os.environ["CATCHMENT_K8S_HOST"]
            self.exporters = ipaddress.ip_network(os.environ["CATCHMENT_K8S_EXPORTERS"])
            self.settings = {}
            self.kubeconfig = pathlib.Path(os.environ["KUBECONFIG"])
        path = f"{KUBE_CACHE / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": path}
        for tool in ("helm", "kubectl"):
            if self.own and not is_built():
                break  # `up` builds them
            if shutil.which(tool, path=path) is None:
                raise Failure(f"{tool} is missing")

    def _slot(self):
        """A number that no other cluster of this test has now."""
        for number in range(MOST_CLUSTERS):
            lock = open(pathlib.Path(tempfile.gettempdir(), f"catchment-k8s-{number}.lock"), "w")
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if f"10.77.{number}.0/30" not in command("ip", "route"):
                    self.lock = lock  # held until the guardian has ended, too
                    return number
            lock.close()
        raise Failure("too many clusters on this machine")

    def __enter__(self):
        self.pipe, self.guardian = self._guard()
        services.end_with_caller()
        try:
            self._start()
        except Failure as failure:
            self.__exit__()
            raise NoCluster(str(failure)) from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        if self.own:
            self.cluster("up", self.folder / "node")
            # Exporters of a network of their own: each of its addresses is this machine's.
            command("ip", "route", "add", "local", self.exporters, "dev", "lo")
        started = services.marked_environment(self.folder, CATCHMENT_SERVICES_HOST=self.host)
        printed = command(REPOSITORY / "dev/services", "start", "kafka", "--state", self.folder / "services", env=started)
        self.brokers = printed.strip().split("CATCHMENT_TEST_KAFKA=", 1)[1]

    def __exit__(self, *_):
        os.close(self.pipe)
        os.waitpid(self.guardian, 0)

    def _guard(self):
        reading, writing = os.pipe()
        child = os.fork()
        if child:
            os.close(reading)
            return writing, child
        os.setsid()
        for number in (services.signal.SIGINT, services.signal.SIGTERM, services.signal.SIGHUP):
            services.signal.signal(number, services.signal.SIG_IGN)
        os.close(writing)
        os.read(reading, 1)
        with contextlib.suppress(Failure):
            services.stop(self.folder / "services")
            services.stop(self.folder)
        if self.own:
            subprocess.run(["bash", str(CLUSTER), "down", str(self.folder / "node")], capture_output=True)
            subprocess.run(["ip", "route", "del", "local", str(self.exporters), "dev", "lo"], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(0)

    def cluster(self, *arguments):
        """cluster.sh, with this cluster's addresses. It is taken down by its own means, so it does not carry the mark."""
        return command("bash", CLUSTER, *arguments, env=os.environ | self.settings)

    def load(self, archive):
        """Makes an image known to the cluster's nodes."""
        if self.own:
            self.cluster("load", self.folder / "node", archive)
        else:
            command("sh", "-c", f'{os.environ["CATCHMENT_K8S_LOAD"]} "$0"', archive)

    def image(self, programs):
        """Makes the image and loads it; gives its size in MiB."""
        archive = self.folder / "catchment.tar"
        printed = command(REPOSITORY / "dev/image", programs, archive)
        self.load(archive)
        archive.unlink()
        return printed.strip().rsplit(", ", 1)[1]

    def etcd_image(self):
        """Values that name an image of etcd that the cluster has."""
        name = os.environ.get("CATCHMENT_K8S_ETCD_IMAGE")
        if name is None and self.own:
            name = "localhost/etcd:test"
            root, archive = self.folder / "etcd-root", self.folder / "etcd.tar"
            (root / "usr/local/bin").mkdir(parents=True)
            shutil.copy(KUBE_CACHE / "bin/etcd", root / "usr/local/bin/etcd")
            self.cluster("mkimage", archive, name, root, '["etcd"]')
            self.load(archive)
            shutil.rmtree(root)
            archive.unlink()
        if name is None:
            return {}
        repository, tag = name.rsplit(":", 1)
        return {"etcd.bundled.image.repository": repository, "etcd.bundled.image.tag": tag}

    def kill(self, container):
        """SIGKILL for a container's processes (`containerd://ID`)."""
        name = container.removeprefix("containerd://")
        if self.own:
            self.cluster("exec", self.folder / "node", "ctr", "-n", "k8s.io", "task", "kill", "--all", "-s", "SIGKILL", name)
        else:
            command("sh", "-c", f'{os.environ["CATCHMENT_K8S_KILL"]} "$0"', name)

    def say(self, text):
        print(f"test-k8s: {text}", file=sys.stderr, flush=True)
