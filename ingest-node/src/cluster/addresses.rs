//! Where others reach this node.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use catchment_settings::{Endpoint, HostPort};
use tokio::net::lookup_host;

/// Where the node serves, and what it says of it.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Where gRPC is bound.
    pub grpc: SocketAddr,
    /// Where HTTP is bound.
    pub http: SocketAddr,
    /// `node.advertise_grpc`.
    pub advertise_grpc: Option<HostPort>,
    /// `node.advertise_http`.
    pub advertise_http: Option<HostPort>,
}

/// `host:port` of gRPC and of HTTP, as a coordinator at `endpoint` is told.
pub(super) async fn advertised(addresses: &Addresses, endpoint: &Endpoint) -> (String, String) {
    let towards = match (&addresses.advertise_grpc, &addresses.advertise_http) {
        (Some(_), Some(_)) => None,
        _ => towards(endpoint).await,
    };
    let told = |named: &Option<HostPort>, bound: SocketAddr| match named {
        Some(named) => named.to_string(),
        None => reached(bound, towards).to_string(),
    };
    (told(&addresses.advertise_grpc, addresses.grpc), told(&addresses.advertise_http, addresses.http))
}

/// A port that is bound to one address is reached there; one that is bound to all, at the one that leads to the coordinator.
fn reached(bound: SocketAddr, towards: Option<IpAddr>) -> SocketAddr {
    match towards {
        Some(address) if bound.ip().is_unspecified() => SocketAddr::new(address, bound.port()),
        _ => bound,
    }
}

/// The own address on the way to an endpoint. A connected UDP socket knows it, and sends nothing.
async fn towards(endpoint: &Endpoint) -> Option<IpAddr> {
    let at = endpoint.host_port();
    let targets = lookup_host((at.host(), at.port())).await.ok()?;
    targets.into_iter().find_map(|target| {
        let any: SocketAddr = match target {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(target).ok()?;
        socket.local_addr().ok().map(|own| own.ip())
    })
}

#[cfg(test)]
mod tests {
    use catchment_settings::Value;

    use super::*;

    fn addresses(advertise: Option<&str>) -> Addresses {
        Addresses {
            grpc: "0.0.0.0:7401".parse().unwrap(),
            http: "192.0.2.7:8081".parse().unwrap(),
            advertise_grpc: advertise.map(|text| HostPort::parse(text).unwrap()),
            advertise_http: None,
        }
    }

    #[tokio::test]
    async fn a_node_is_reached_where_it_reaches_the_coordinator_unless_told() {
        let endpoint = Endpoint::parse("http://127.0.0.1:7400").unwrap();
        let (grpc, http) = advertised(&addresses(None), &endpoint).await;
        assert_eq!((grpc.as_str(), http.as_str()), ("127.0.0.1:7401", "192.0.2.7:8081"));
        let (grpc, _) = advertised(&addresses(Some("node-1.example:17401")), &endpoint).await;
        assert_eq!(grpc, "node-1.example:17401");
        let endpoint = Endpoint::parse("http://[::1]:7400").unwrap();
        assert_eq!(advertised(&addresses(None), &endpoint).await.0, "[::1]:7401");
    }
}
