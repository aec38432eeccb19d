//! What needs a terminal: the live screen of `top`, the question of `config set`. `script` of util-linux makes one.

mod peers;

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use peers::{Coordinator, Peer};

/// `catchctl` on a terminal of 120 columns and 40 rows.
struct Terminal {
    child: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
    /// How much had been seen when the last key was pressed: what it changes comes behind.
    before: usize,
}

impl Terminal {
    fn run(arguments: &[&str]) -> Self {
        let line =
            format!("stty cols 120 rows 40; exec {} {}", env!("CARGO_BIN_EXE_catchctl"), arguments.join(" "));
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env("XDG_CONFIG_HOME", "/nowhere")
            .env_remove("CATCHCTL_ENDPOINT")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of util-linux");
        let mut pipe = child.stdout.take().expect("piped");
        let (sender, output) = sync_channel(64);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read) = pipe.read(&mut buffer) {
                if read == 0 || sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, output, seen: String::new(), before: 0 }
    }

    /// Waits until `text` has been written since the last key. Only cells that change are.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.seen[self.before..].contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} is not in {:?}", self.seen),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.before = self.seen.len();
        self.child.stdin.as_mut().expect("piped").write_all(keys.as_bytes()).expect("written");
    }

    /// Its exit status, and the rest of what it wrote.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("ended");
        while let Ok(bytes) = self.output.recv() {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        (status.code(), self.seen)
    }
}

#[test]
fn top_takes_the_terminal_and_gives_it_back() {
    let coordinator = Peer::coordinator(Coordinator::default());
    let mut terminal = Terminal::run(&["top", "--interval", "100ms", "--endpoint", &coordinator.url()]);
    terminal.wait_for("\u{1b}[?1049h");
    terminal.wait_for("by name");
    terminal.press("s");
    terminal.wait_for("records/s");
    terminal.press("j");
    terminal.wait_for("of node-1");
    terminal.press("p");
    terminal.wait_for("held");
    terminal.press("q");
    let (code, seen) = terminal.end();
    assert_eq!(code, Some(0), "{seen:?}");
    assert!(seen.contains("\u{1b}[?1049l"), "the terminal is given back: {seen:?}");
}

#[test]
fn a_person_is_asked_before_the_configuration_changes() {
    let coordinator = Coordinator::default();
    let peer = Peer::coordinator(coordinator.clone());
    let url = peer.url();
    for (answer, code, revision) in [("n", 1, 7), ("y", 0, 8)] {
        let mut terminal = Terminal::run(&["config", "set", "log.level=debug", "--endpoint", &url]);
        terminal.wait_for("change it? [y/N]");
        terminal.press(&format!("{answer}\n"));
        let (ended, seen) = terminal.end();
        assert_eq!(ended, Some(code), "{seen}");
        assert!(seen.contains("+# what the cluster steers"), "{seen}");
        assert_eq!(coordinator.config.lock().expect("whole").0, revision);
    }
    let unasked = Terminal::run(&["config", "set", "log.level=warn", "--yes", "--endpoint", &url]);
    assert_eq!(unasked.end().0, Some(0));
    assert_eq!(coordinator.config.lock().expect("whole").0, 9);
}
