//! The binary as a person or a supervisor meets it: exit statuses and texts.

use std::process::{Command, Output};

fn node(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-node"));
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

#[test]
fn a_right_configuration_is_ok_and_its_warnings_are_told() {
    let (status, stdout, stderr) = run(&mut node(&["check-config"]));
    assert_eq!((status, stdout.as_str(), stderr.as_str()), (Some(0), "configuration ok\n", ""));

    let (status, stdout, stderr) = run(&mut node(&["--set", "spool.dir=/var/lib/catchment", "check-config"]));
    assert_eq!((status, stdout.as_str()), (Some(0), "configuration ok\n"));
    assert!(stderr.starts_with("warning: --set spool.dir: spool.dir: has no effect: "), "{stderr}");
}

#[test]
fn a_wrong_file_ends_with_64_and_says_file_line_and_key() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("node.yaml"), "kafka:\n  brokres: [a:1]\n  queue_age: 2\n")
        .expect("written");
    // The default command is `run`: a wrong configuration ends it before anything is opened.
    for arguments in [&["--config", "node.yaml"][..], &["check-config", "--config", "node.yaml"]] {
        let (status, stdout, stderr) = run(node(arguments).current_dir(&dir));
        assert_eq!((status, stdout.as_str()), (Some(64), ""));
        assert_eq!(
            stderr,
            "node.yaml:2:3: kafka.brokres: unknown key; did you mean `kafka.brokers`?\n\
             node.yaml:3:14: kafka.queue_age: \"2\": has no unit: expected a duration such as 500ms, 2s or 1h30m\n"
        );
    }
    let (status, _, stderr) =
        run(node(&["check-config"]).current_dir(&dir).env("CATCHMENT_CONFIG", "node.yaml"));
    assert_eq!(status, Some(64), "{stderr}");
}

#[test]
fn a_missing_file_ends_with_66() {
    let (status, _, stderr) = run(&mut node(&["check-config", "--config", "/nonexistent.yaml"]));
    assert_eq!(status, Some(66));
    assert!(stderr.starts_with("/nonexistent.yaml: cannot read the configuration file: "), "{stderr}");
}

#[test]
fn wrong_arguments_and_variables_end_with_64() {
    for arguments in
        [&["--set", "kafak.brokers=a:1"][..], &["--set", "kafka.brokers"], &["--no-such-option"], &["fly"]]
    {
        let (status, _, stderr) = run(&mut node(arguments));
        assert_eq!(status, Some(64), "{stderr}");
    }
    let (status, _, stderr) = run(node(&["check-config"]).env("CATCHMENT_KAFKA__BROKRES", "a:1"));
    assert_eq!(status, Some(64));
    assert_eq!(
        stderr,
        "environment variable CATCHMENT_KAFKA__BROKRES: kafka.brokres: unknown key; did you mean `kafka.brokers` (CATCHMENT_KAFKA__BROKERS)?\n"
    );
}

#[test]
fn print_config_shows_what_is_in_effect() {
    let (status, stdout, _) =
        run(node(&["print-config", "--set", "udp.gro=off"]).env("CATCHMENT_OUTPUT", "discard"));
    assert_eq!(status, Some(0));
    assert!(stdout.contains("\noutput: discard  # environment variable CATCHMENT_OUTPUT\n"), "{stdout}");
    assert!(stdout.contains("  gro: off  # --set udp.gro\n"), "{stdout}");
}

#[test]
fn version_names_the_commit() {
    let (status, stdout, _) = run(&mut node(&["--version"]));
    assert_eq!(status, Some(0));
    let commit = stdout
        .trim()
        .strip_prefix(concat!("ingest-node ", env!("CARGO_PKG_VERSION"), " ("))
        .expect("a version");
    assert!(commit.len() > "()".len(), "{stdout}");
}

#[test]
fn healthcheck_fails_where_nobody_answers() {
    // Port 9 of a loopback address that nobody uses.
    let (status, stdout, stderr) = run(&mut node(&["healthcheck", "--set", "node.http=127.99.0.9:9"]));
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("no answer from http://127.99.0.9:9/readyz"), "{stderr}");
}
