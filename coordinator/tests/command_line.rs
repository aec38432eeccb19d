//! The binary as a person or a supervisor meets it: exit statuses and texts, and a run from start to SIGTERM.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

fn coordinator(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator"));
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CATCHMENT_"))
    {
        command.env_remove(name);
    }
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn written(dir: &Path, text: &str) {
    std::fs::write(dir.join("coordinator.yaml"), text).expect("written");
}

#[test]
fn a_right_configuration_is_ok_and_doubts_are_told() {
    let (status, stdout, stderr) = run(&mut coordinator(&["check-config"]));
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "configuration ok\n", ""));
    let set = ["--set", "store=memory", "--set", "etcd.endpoints=http://e:2379", "check-config"];
    let (status, _, stderr) = run(&mut coordinator(&set));
    assert_eq!(status, Some(0));
    assert_eq!(
        stderr,
        "warning: --set etcd.endpoints: etcd.endpoints: has no effect while store is memory\n"
    );
}

#[test]
fn a_wrong_file_ends_with_64_and_says_file_line_and_key() {
    let dir = tempfile::tempdir().expect("a directory");
    written(
        dir.path(),
        "etcd:\n  endponts: [http://e:2379]\nlease:\n  ttl: 15\nstore: etcd\ntls: {cert_file: /nonexistent.pem, key_file: /k}\n",
    );
    // The default command is `run`: a wrong configuration ends it before anything is opened.
    for arguments in
        [&["--config", "coordinator.yaml"][..], &["check-config", "--config", "coordinator.yaml"]]
    {
        let (status, stdout, stderr) = run(coordinator(arguments).current_dir(&dir));
        assert_eq!((status, stdout.as_str()), (Some(64), ""));
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "coordinator.yaml:2:3: etcd.endponts: unknown key; did you mean `etcd.endpoints`?",
                "coordinator.yaml:4:8: lease.ttl: \"15\": has no unit: expected a duration such as 500ms, 2s or 1h30m",
                "coordinator.yaml:5:8: etcd.endpoints: store is etcd, but no endpoint is named",
            ]
        );
        assert!(
            lines[3].starts_with("coordinator.yaml:6:18: tls.cert_file: cannot read /nonexistent.pem: "),
            "{stderr}"
        );
        assert_eq!(lines.len(), 4, "{stderr}");
    }
    let (status, _, stderr) = run(&mut coordinator(&["--config", "/nonexistent.yaml"]));
    assert_eq!(status, Some(66), "{stderr}");
}

#[test]
fn contradictions_are_refused() {
    for (set, expected) in [
        (&["grpc=127.0.0.1:1", "http=127.0.0.1:1"][..], "--set http: http: the same address as grpc"),
        (&["etcd.endpoints=https://e:1"], "needs the authority that signs etcd's certificates"),
        (&["etcd.endpoints=https://e:1,http://e:2"], "some are https:// and some http://"),
        (&["etcd.username=u"], "etcd.password: a user is set, but no password"),
        (&["etcd.password=p"], "etcd.username: a password is set, but no user"),
        (&["tls.client_ca_file=/ca.pem"], "tls.cert_file: client_ca_file needs cert_file"),
        (&["kafka.brokers=a:1"], "kafka.brokers: unknown key"),
    ] {
        let arguments = set.iter().flat_map(|set| ["--set", *set]).collect::<Vec<_>>();
        let (status, _, stderr) = run(&mut coordinator(&arguments));
        assert_eq!(status, Some(64), "{set:?}: {stderr}");
        assert!(stderr.contains(expected), "{set:?}: {stderr}");
    }
}

#[test]
fn print_config_shows_what_is_in_effect_and_no_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), "etcd: {endpoints: [http://e:2379], username: u}\nlog: {level: debug}\n");
    let mut command = coordinator(&["print-config", "--set", "grpc=127.0.0.1:7499"]);
    command.current_dir(&dir).env("CATCHMENT_COORDINATOR_CONFIG", "coordinator.yaml");
    // One environment for all programs of a cluster: the node's variables are left to it.
    command.env("CATCHMENT_ETCD__PASSWORD", "hunter2").env("CATCHMENT_KAFKA__BROKERS", "k:9092");
    command.env("CATCHMENT_CONFIG", "/nonexistent/node.yaml");
    let (status, stdout, stderr) = run(&mut command);
    assert_eq!(status, Some(0), "{stderr}");
    for line in [
        "\ngrpc: \"127.0.0.1:7499\"  # --set grpc\n",
        "\nstore: etcd  # worked out by the coordinator\n",
        "\n  password: \"***\"  # environment variable CATCHMENT_ETCD__PASSWORD\n",
        "\n  level: debug  # coordinator.yaml:2:14\n",
    ] {
        assert!(stdout.contains(line), "no {line:?} in\n{stdout}");
    }
    assert!(
        stdout.lines().next().is_some_and(|id| id.starts_with("id: ") && id.contains("-7499")),
        "{stdout}"
    );
    assert!(!stdout.contains("hunter2"));
}

/// A coordinator on ports that the system chose, and where they are.
struct Running {
    child: Child,
    http: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start() -> Self {
        let set = ["grpc=127.0.0.1:0", "http=127.0.0.1:0", "log.format=json"];
        let arguments = set.iter().flat_map(|set| ["--set", *set]).collect::<Vec<_>>();
        let mut child = coordinator(&arguments).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut http = None;
        loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).expect("read"), 0, "ended before it served");
            let event: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
            match event["message"].as_str() {
                Some("serving http") => http = event["address"].as_str().map(str::to_owned),
                Some("serving grpc") => break,
                _ => {}
            }
        }
        Self { child, http: http.expect("served before gRPC"), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where the test has waited for it already, nothing is left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_runs_answers_its_healthcheck_and_ends_with_0() {
    let mut running = Running::start();
    let ask = format!("http={}", running.http);
    let (status, stdout, stderr) = run(&mut coordinator(&["healthcheck", "--set", &ask]));
    assert_eq!((status, stdout.as_str()), (Some(0), "ready\n"), "{stderr}");

    let pid = running.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let until = Instant::now() + DEADLINE;
    let mut lines = String::new();
    std::io::Read::read_to_string(&mut running.stderr, &mut lines).expect("its last words");
    let status = running.child.wait().expect("its status");
    assert!(Instant::now() < until, "ended in time");
    assert_eq!(status.code(), Some(0), "{lines}");
    assert!(lines.contains("\"stopped\""), "{lines}");

    let (status, _, stderr) = run(&mut coordinator(&["healthcheck", "--set", &ask]));
    assert_eq!(status, Some(1));
    assert!(stderr.contains(&format!("no answer from http://{}/readyz", running.http)), "{stderr}");
}

#[test]
fn a_taken_port_is_named() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let grpc = format!("grpc={}", holder.local_addr().expect("bound"));
    let (status, _, stderr) = run(&mut coordinator(&["--set", &grpc, "--set", "http=127.0.0.1:0"]));
    assert_eq!(status, Some(1));
    assert!(stderr.contains(&format!("tcp {}: ", holder.local_addr().expect("bound"))), "{stderr}");
}
