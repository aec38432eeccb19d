//! Why a command did not do what it was asked to, and the exit status that says so.
//!
//! ```text
//! 0  done                                          3  nobody answers
//! 1  the thing asked about is not well, or refuses 4  not allowed: permission, certificates
//! 2  the command is wrong: unknown command, node, key, context
//! ```

use std::fmt;
use std::io;

use tonic::{Code, Status};

/// Why a command failed. Shown as one line.
#[derive(Debug)]
pub enum Fault {
    /// What was asked about is not healthy (status 1). The output says why already.
    NotHealthy,
    /// The other side understood and refuses (status 1).
    Refused(String),
    /// The command is wrong (status 2).
    Usage(String),
    /// Nobody answers (status 3).
    Unreachable(String),
    /// Not allowed, or not trusted (status 4).
    Denied(String),
    /// Whoever read the output has enough of it. No error.
    ReaderGone,
}

impl Fault {
    /// The exit status.
    pub fn exit_code(&self) -> u8 {
        match self {
            Fault::ReaderGone => 0,
            Fault::NotHealthy | Fault::Refused(_) => 1,
            Fault::Usage(_) => 2,
            Fault::Unreachable(_) => 3,
            Fault::Denied(_) => 4,
        }
    }

    /// The same, with the name of what it is about before it.
    pub(crate) fn of(self, name: &str) -> Self {
        match self {
            Fault::Refused(what) => Fault::Refused(format!("{name}: {what}")),
            Fault::Usage(what) => Fault::Usage(format!("{name}: {what}")),
            Fault::Unreachable(what) => Fault::Unreachable(format!("{name}: {what}")),
            Fault::Denied(what) => Fault::Denied(format!("{name}: {what}")),
            Fault::NotHealthy | Fault::ReaderGone => self,
        }
    }

    /// What a server's answer means, `at` is whom it was asked of.
    pub(crate) fn of_status(status: &Status, at: &str) -> Self {
        let said = one_line(status.message());
        let said = if said.is_empty() { status.code().description().to_owned() } else { said };
        match status.code() {
            Code::InvalidArgument | Code::NotFound => Fault::Usage(format!("{at}: {said}")),
            Code::Unauthenticated | Code::PermissionDenied => Fault::Denied(format!("{at}: {said}")),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                Fault::Unreachable(format!("{at}: {said}"))
            }
            Code::Unimplemented => Fault::Refused(format!(
                "{at}: does not know this call; is it a Catchment of another version? (`catchctl version` says)"
            )),
            _ => Fault::Refused(format!("{at}: {said}")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotHealthy | Fault::ReaderGone => Ok(()),
            Fault::Refused(what) | Fault::Usage(what) | Fault::Unreachable(what) | Fault::Denied(what) => {
                f.write_str(&one_line(what))
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Fault::ReaderGone,
            _ => Fault::Refused(format!("writing the output: {error}")),
        }
    }
}

/// The text with its lines joined and nothing in it that moves the cursor.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    crate::output::printable(&lines.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_exit_status() {
        for (code, exit) in [
            (Code::InvalidArgument, 2),
            (Code::NotFound, 2),
            (Code::Aborted, 1),
            (Code::FailedPrecondition, 1),
            (Code::Unimplemented, 1),
            (Code::Internal, 1),
            (Code::Unavailable, 3),
            (Code::DeadlineExceeded, 3),
            (Code::Unauthenticated, 4),
            (Code::PermissionDenied, 4),
        ] {
            let fault = Fault::of_status(&Status::new(code, "why"), "http://c:7400");
            assert_eq!(fault.exit_code(), exit, "{code:?}");
            assert!(fault.to_string().starts_with("http://c:7400: "), "{fault}");
        }
    }

    #[test]
    fn an_error_is_one_line() {
        let fault = Fault::Refused("node-1: a\n  b\u{1b}[2J\n\nnode-2: c\n".to_owned());
        assert_eq!(fault.to_string(), "node-1: a; b\\u{1b}[2J; node-2: c");
    }

    #[test]
    fn a_broken_pipe_is_no_error() {
        assert_eq!(Fault::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit_code(), 0);
        assert_eq!(Fault::from(io::Error::from(io::ErrorKind::StorageFull)).exit_code(), 1);
    }
}
