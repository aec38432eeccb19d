//! The subcommand `healthcheck`: asks the running daemon's `/readyz`, for container probes without a shell or curl.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long the whole exchange may take; probes commonly give up after a few seconds themselves.
const DEADLINE: Duration = Duration::from_secs(3);
/// The longest answer that is read.
const LONGEST: u64 = 64 * 1024;

/// What the daemon said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether the status was 200.
    pub ready: bool,
    /// The text of the answer.
    pub text: String,
}

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
#[error("no answer from http://{address}/readyz: {error}")]
pub struct NoAnswer {
    /// Who was asked.
    address: SocketAddr,
    /// What went wrong.
    error: io::Error,
}

/// Asks the daemon that serves HTTP at `listen`.
///
/// # Errors
/// Where nobody answers HTTP in time.
pub fn ask(listen: SocketAddr) -> Result<Answer, NoAnswer> {
    let address = reachable(listen);
    exchange(address).map_err(|error| NoAnswer { address, error })
}

/// A wildcard address is listened on, not connected to: the loopback address of its family answers for it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn exchange(address: SocketAddr) -> io::Result<Answer> {
    let end = Instant::now() + DEADLINE;
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_write_timeout(Some(DEADLINE))?;
    // HTTP/1.0, so that the answer ends with the connection and is never chunked.
    let request = format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while (answer.len() as u64) < LONGEST {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("the answer is not HTTP"))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, text) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some(Answer { ready: status == "200", text: text.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answered(answer: &'static str) -> Result<Answer, NoAnswer> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let everywhere = SocketAddr::from(([0, 0, 0, 0], listener.local_addr().expect("bound").port()));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /readyz HTTP/1."));
            stream.write_all(answer.as_bytes()).expect("written");
        });
        let result = ask(everywhere);
        server.join().expect("served");
        result
    }

    #[test]
    fn the_status_decides_and_the_text_is_kept() {
        let ready = answered("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").expect("an answer");
        assert_eq!(ready, Answer { ready: true, text: "ready".to_owned() });
        let not = answered("HTTP/1.1 503 Service Unavailable\r\n\r\nkafka: no broker\n").expect("an answer");
        assert_eq!(not, Answer { ready: false, text: "kafka: no broker".to_owned() });
        assert!(answered("SSH-2.0-x\r\n").is_err());
    }

    #[test]
    fn nobody_there_names_the_address() {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let error = ask(free).expect_err("nobody listens");
        assert!(error.to_string().contains(&format!("http://{free}/readyz")), "{error}");
    }
}
