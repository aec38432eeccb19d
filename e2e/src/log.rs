//! What a process writes on standard error, line by line, as it comes.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::Value;

/// Lines of standard error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Reads lines on a thread of its own until the pipe ends.
    pub(crate) fn read(&self, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                log.lock().push(line);
            }
        })
    }

    /// The first line that holds `text`.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        self.lock().iter().find(|line| line.contains(text)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lines so far.
    pub(crate) fn text(&self) -> String {
        self.lock().join("\n")
    }

    /// The addresses of all lines with this message.
    pub(crate) fn addresses(&self, message: &str) -> Vec<SocketAddr> {
        let address = |line: &String| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message).then(|| line["address"].as_str()?.parse().ok()).flatten()
        };
        self.lock().iter().filter_map(address).collect()
    }
}
