//! A TCP proxy on loopback that can fail as networks do: slow, silent, or cut.
//!
//! ```text
//! client -> Proxy::address -> [Way] -> target
//! ```
//! Every connection has two threads, one for each direction. Invariants: bytes are never lost or reordered on a connection
//! that lives, however the [`Way`] changes meanwhile; and nothing outlives the [`Proxy`].

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long the target may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// What is read at once, and so waits together.
const CHUNK: usize = 64 * 1024;

/// What the way between client and target is like, for connections that are there and new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Bytes pass.
    Open,
    /// Bytes pass so much later, in each direction; a round trip takes twice that or more.
    Delayed(Duration),
    /// Nothing passes and nothing ends, as when a network loses every packet. What was sent passes later.
    Held,
    /// Connections are closed, new ones as soon as they are made.
    Cut,
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    target: SocketAddr,
}

#[derive(Debug)]
struct State {
    way: Way,
    is_over: bool,
    /// Both ends of every connection that lives.
    open: Vec<(u64, TcpStream)>,
    connections: u64,
}

impl Proxy {
    /// A proxy to `target`, on a port of its own.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = State { way: Way::Open, is_over: false, open: Vec::new(), connections: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), target });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.accept(&listener))
        };
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the way, at once.
    pub fn set(&self, way: Way) {
        let mut state = self.shared.lock();
        state.way = way;
        if way == Way::Cut {
            state.close();
        }
        self.shared.changed.notify_all();
    }

    /// Connections made so far, also those that were cut.
    pub fn connections(&self) -> u64 {
        self.shared.lock().connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.is_over = true;
            state.close();
        }
        self.shared.changed.notify_all();
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, CONNECT);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn close(&mut self) {
        for (_, stream) in self.open.drain(..) {
            // Fails where the other end was faster.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            let Some(number) = self.admit(&client) else {
                if self.lock().is_over {
                    return;
                }
                continue;
            };
            let shared = Arc::clone(self);
            thread::spawn(move || {
                shared.serve(number, &client);
                shared.lock().open.retain(|(open, _)| *open != number);
            });
        }
    }

    /// The number of a new connection; `None` where it is to be closed.
    fn admit(&self, client: &TcpStream) -> Option<u64> {
        let mut state = self.lock();
        if state.is_over || state.way == Way::Cut {
            return None;
        }
        state.connections += 1;
        let number = state.connections;
        state.open.push((number, client.try_clone().ok()?));
        Some(number)
    }

    fn serve(&self, number: u64, client: &TcpStream) {
        if !self.pass(Instant::now()) {
            return;
        }
        let Ok(target) = TcpStream::connect_timeout(&self.target, CONNECT) else {
            let _ = client.shutdown(Shutdown::Both);
            return;
        };
        {
            let mut state = self.lock();
            // Cut while it connected?
            if state.is_over || !state.open.iter().any(|(open, _)| *open == number) {
                return;
            }
            let Ok(end) = target.try_clone() else { return };
            state.open.push((number, end));
        }
        for stream in [client, &target] {
            // A proxy that waited for more would be slower than the way it stands for.
            let _ = stream.set_nodelay(true);
        }
        thread::scope(|scope| {
            scope.spawn(|| self.pump(client, &target));
            self.pump(&target, client);
        });
    }

    /// Moves bytes one way until either end closes.
    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk);
            let read_at = Instant::now();
            match length {
                Ok(0) => {
                    if self.pass(read_at) {
                        let _ = to.shutdown(Shutdown::Write);
                    }
                    return;
                }
                Ok(length) if self.pass(read_at) && to.write_all(&chunk[..length]).is_ok() => {}
                Ok(_) | Err(_) => break,
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits until what came at `since` may pass; false where it may never.
    fn pass(&self, since: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let wait = match state.way {
                _ if state.is_over => return false,
                Way::Cut => return false,
                Way::Open => return true,
                Way::Held => Duration::MAX,
                Way::Delayed(delay) => delay.saturating_sub(since.elapsed()),
            };
            if wait.is_zero() {
                return true;
            }
            state = if wait == Duration::MAX {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    const SHORT: Duration = Duration::from_millis(150);
    const LONG: Duration = Duration::from_secs(10);

    /// A server that sends back what it gets, to any number of clients.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut answer = stream.try_clone().unwrap();
                    // Ends with either end.
                    let _ = std::io::copy(&mut stream, &mut answer);
                });
            }
        });
        address
    }

    fn client(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn answer(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).unwrap();
        answer
    }

    /// Whether the stream stays silent for a short time, without an end.
    fn is_silent(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(Some(SHORT)).unwrap();
        let result = stream.read(&mut [0]);
        stream.set_read_timeout(Some(LONG)).unwrap();
        matches!(result, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    #[test]
    fn large_streams_pass_whole_in_both_directions() {
        let proxy = Proxy::to(echo()).unwrap();
        let mut stream = client(&proxy);
        let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut writer = stream.try_clone().unwrap();
        let expected = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut found = Vec::new();
        stream.read_to_end(&mut found).unwrap();
        writing.join().unwrap();
        assert!(found == expected, "{} octets came back", found.len());
    }

    #[test]
    fn what_is_held_passes_later_and_nothing_ends() {
        let proxy = Proxy::to(echo()).unwrap();
        let mut old = client(&proxy);
        old.write_all(b"a").unwrap();
        assert_eq!(answer(&mut old, b"a"), b"a");
        proxy.set(Way::Held);
        old.write_all(b"old").unwrap();
        let mut new = client(&proxy);
        new.write_all(b"new").unwrap();
        assert!(is_silent(&mut old) && is_silent(&mut new));
        proxy.set(Way::Open);
        assert_eq!(answer(&mut old, b"old"), b"old");
        assert_eq!(answer(&mut new, b"new"), b"new");
    }

    #[test]
    fn a_delay_is_kept_in_each_direction() {
        let proxy = Proxy::to(echo()).unwrap();
        let mut stream = client(&proxy);
        stream.write_all(b"a").unwrap();
        answer(&mut stream, b"a");
        proxy.set(Way::Delayed(SHORT));
        let began = Instant::now();
        stream.write_all(b"b").unwrap();
        assert_eq!(answer(&mut stream, b"b"), b"b");
        assert!(began.elapsed() >= 2 * SHORT, "{:?}", began.elapsed());
    }

    #[test]
    fn a_cut_ends_old_and_new_connections_until_it_is_mended() {
        let proxy = Proxy::to(echo()).unwrap();
        let mut old = client(&proxy);
        old.write_all(b"a").unwrap();
        answer(&mut old, b"a");
        proxy.set(Way::Cut);
        assert!(!matches!(old.read(&mut [0]), Ok(1..)), "the old one lives");
        let mut new = client(&proxy);
        assert!(!matches!(new.read(&mut [0]), Ok(1..)), "a new one lives");
        proxy.set(Way::Open);
        let mut mended = client(&proxy);
        mended.write_all(b"b").unwrap();
        assert_eq!(answer(&mut mended, b"b"), b"b");
        assert_eq!(proxy.connections(), 2, "the new one was never admitted");
    }

    #[test]
    fn a_cut_ends_what_was_held() {
        let proxy = Proxy::to(echo()).unwrap();
        proxy.set(Way::Held);
        let mut stream = client(&proxy);
        stream.write_all(b"a").unwrap();
        assert!(is_silent(&mut stream));
        proxy.set(Way::Cut);
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    }

    #[test]
    fn nothing_outlives_the_proxy() {
        let proxy = Proxy::to(echo()).unwrap();
        let (address, mut stream) = (proxy.address(), client(&proxy));
        stream.write_all(b"a").unwrap();
        answer(&mut stream, b"a");
        drop(proxy);
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
        assert!(TcpStream::connect(address).is_err());
    }
}
