//! Addresses of other machines: brokers, coordinators, and the networks exporters live in.

use std::fmt;
use std::net::IpAddr;

use crate::value::{Refusal, Value};

/// A host (name or IP address, IPv6 in brackets) and a port, such as `kafka-1:9092` or `[2001:db8::1]:9092`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The host as written, IPv6 addresses without their brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Value for HostPort {
    const KIND: &'static str = "host:port";
    const EXPECTED: &'static str = "host:port such as kafka-1:9092 or [2001:db8::1]:9092";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(Refusal::Because(format!("has no port: expected {}", Self::EXPECTED)));
        };
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| Refusal::Because("the port must be from 1 to 65535".to_owned()))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            None if is_host(host) => host,
            _ => return Err(Refusal::Unexpected),
        };
        Ok(HostPort { host: host.to_owned(), port })
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (1..=253).contains(&text.len()) && text.chars().all(allowed)
}

/// The URL of a coordinator: `http://host:port` or `https://host:port`, nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    tls: bool,
    at: HostPort,
}

impl Endpoint {
    /// Whether the connection is TLS (`https`).
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host and port.
    pub fn host_port(&self) -> &HostPort {
        &self.at
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.at)
    }
}

impl Value for Endpoint {
    const KIND: &'static str = "URL";
    const EXPECTED: &'static str = "a URL such as http://coordinator:7400";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(Refusal::Unexpected),
        };
        let at = HostPort::parse(rest.strip_suffix('/').unwrap_or(rest))?;
        Ok(Endpoint { tls, at })
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

/// A network: an address and how many of its leading bits count. A bare address is the network of that one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Whether `address` is in the network. An IPv4 address in IPv6 clothes (`::ffff:a.b.c.d`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.length) == self.address
    }

    /// The network's first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits.
    pub fn length(&self) -> u8 {
        self.length
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Value for Prefix {
    const KIND: &'static str = "prefix";
    const EXPECTED: &'static str = "an address or prefix such as 192.0.2.0/24 or 2001:db8::/32";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| Refusal::Unexpected)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(longest), str::parse).map_err(|_| Refusal::Unexpected)?;
        if length > longest {
            return Err(Refusal::Because(format!("the prefix length must be from 0 to {longest}")));
        }
        let network = masked(address, length);
        if network != address {
            let what = format!("has bits set beyond its length; the network is {network}/{length}");
            return Err(Refusal::Because(what));
        }
        Ok(Prefix { address, length })
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()),
        IpAddr::V6(v6) => {
            IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for text in ["kafka-1:9092", "10.0.0.1:9092", "[2001:db8::1]:9092"] {
            assert_eq!(HostPort::parse(text).map(|at| at.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(HostPort::parse("[::1]:1").map(|at| at.host().to_owned()), Ok("::1".to_owned()));
        assert!(matches!(HostPort::parse("kafka"), Err(Refusal::Because(_))));
        for wrong in
            [":9092", "kafka:0", "kafka:70000", "ka fka:1", "2001:db8::1:9092", "[kafka]:1", "http://k:1"]
        {
            assert!(HostPort::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn endpoints() {
        for (text, tls) in [("http://c:7400", false), ("https://[::1]:7400/", true)] {
            let endpoint = Endpoint::parse(text).expect("an endpoint");
            assert_eq!(endpoint.is_tls(), tls);
            assert_eq!(Endpoint::parse(&endpoint.render()), Ok(endpoint));
        }
        for wrong in ["c:7400", "ftp://c:1", "http://c", "http://c:1/path", "http://user@c:1"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn prefixes() {
        let prefix = |text| Prefix::parse(text).expect("a prefix");
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(prefix("192.0.2.0/24").contains(address("192.0.2.255")));
        assert!(prefix("192.0.2.0/24").contains(address("::ffff:192.0.2.1")));
        assert!(!prefix("192.0.2.0/24").contains(address("192.0.3.0")));
        assert!(!prefix("0.0.0.0/0").contains(address("2001:db8::1")));
        assert!(prefix("::/0").contains(address("2001:db8::1")));
        assert_eq!(prefix("192.0.2.7").to_string(), "192.0.2.7/32");
        let refusal = Prefix::parse("10.1.2.3/8").expect_err("host bits");
        assert_eq!(
            refusal,
            Refusal::Because("has bits set beyond its length; the network is 10.0.0.0/8".into())
        );
        for wrong in ["10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", ""] {
            assert!(Prefix::parse(wrong).is_err(), "{wrong}");
        }
    }
}
