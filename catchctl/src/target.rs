//! Whom to talk to: `--endpoint` or `--node-endpoint`, else the environment, else the context file, else this machine.

use catchment_serving::grpc::ClientTls;
use catchment_settings::{Endpoint, HostPort, Refusal, Value as _};

use crate::cli::Connection;
use crate::context::{self, Contexts};
use crate::fault::Fault;
use crate::output;

/// Where a coordinator on this machine listens.
const HERE: &str = "http://127.0.0.1:7400";

/// Whom to talk to, and how to know them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// The peers.
    pub(crate) peer: Peer,
    /// Files for `https://`.
    pub(crate) tls: ClientTls,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Peer {
    /// Any of these coordinators.
    Cluster(Vec<Endpoint>),
    /// This node, by itself.
    Node(Endpoint),
}

impl Target {
    /// What was given. In this order: `--node-endpoint`, `--endpoint`, `--context-name`, `in_environment`
    /// (`CATCHCTL_ENDPOINT`), the context file's current one, this machine.
    pub(crate) fn resolve(given: &Connection, in_environment: Option<&str>) -> Result<Self, Fault> {
        let mut target = Self { peer: Peer::Cluster(Vec::new()), tls: ClientTls::default() };
        let file = Contexts::find(given.context.as_deref())?;
        let context = match (&file, &given.context_name) {
            (Some(file), name) => file.choose(name.as_deref())?,
            (None, None) => None,
            (None, Some(name)) => {
                let place = context::default_path()
                    .map_or_else(String::new, |path| format!(" at {}", path.display()));
                return Err(Fault::Usage(format!("--context-name {name}: there is no context file{place}")));
            }
        };
        if let Some(context) = context {
            target.tls = context.tls();
        }
        override_by(&mut target.tls, given);
        target.peer = if let Some(node) = &given.node_endpoint {
            Peer::Node(endpoint(node, "--node-endpoint")?)
        } else if let Some(text) = &given.endpoint {
            Peer::Cluster(endpoints(text, "--endpoint")?)
        } else {
            match (context, in_environment) {
                (Some(context), _) if given.context_name.is_some() => {
                    Peer::Cluster(context.endpoints().to_vec())
                }
                (_, Some(text)) => Peer::Cluster(endpoints(text, "CATCHCTL_ENDPOINT")?),
                (Some(context), None) => Peer::Cluster(context.endpoints().to_vec()),
                (None, None) => Peer::Cluster(endpoints(HERE, "default")?),
            }
        };
        Ok(target)
    }

    /// How to reach a node at the address that it advertises: as safely as the coordinators.
    pub(crate) fn node(&self, address: &str) -> Result<Self, Fault> {
        let tls = match &self.peer {
            Peer::Cluster(endpoints) => endpoints.first().is_some_and(Endpoint::is_tls),
            Peer::Node(endpoint) => endpoint.is_tls(),
        };
        HostPort::parse(address)
            .map_err(|_| Fault::Refused(format!("it advertises `{address}`, which is no host:port")))?;
        let url = format!("{}://{address}", if tls { "https" } else { "http" });
        Ok(Self { peer: Peer::Node(endpoint(&url, "grpc_address")?), tls: self.tls.clone() })
    }
}

/// What was given wins over what the context says, file by file.
fn override_by(tls: &mut ClientTls, given: &Connection) {
    for (own, given) in [
        (&mut tls.ca_file, &given.ca_file),
        (&mut tls.cert_file, &given.cert_file),
        (&mut tls.key_file, &given.key_file),
    ] {
        if given.is_some() {
            own.clone_from(given);
        }
    }
    if given.server_name.is_some() {
        tls.server_name.clone_from(&given.server_name);
    }
}

fn endpoints(text: &str, from: &str) -> Result<Vec<Endpoint>, Fault> {
    text.split(',').map(|text| endpoint(text.trim(), from)).collect()
}

fn endpoint(text: &str, from: &str) -> Result<Endpoint, Fault> {
    // `node-1:7401` is what people have at hand.
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Endpoint::parse(&text).map_err(|refusal| {
        let why = match refusal {
            Refusal::Unexpected => format!("expected {}", Endpoint::EXPECTED),
            Refusal::Because(why) => why,
        };
        Fault::Usage(format!("{from} {}: {why}", output::printable(&text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::PathBuf;

    fn context_file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn given(file: &tempfile::NamedTempFile) -> Connection {
        Connection { context: Some(file.path().to_owned()), ..Connection::default() }
    }

    const TWO: &str = "current: lab\ncontexts:\n  - name: lab\n    endpoints: [http://a:7400, http://b:7400]\n  \
                       - name: production\n    endpoints: [https://c:7400]\n    tls: {ca_file: /etc/ca.pem, server_name: c}\n";

    fn urls(target: &Target) -> String {
        match &target.peer {
            Peer::Cluster(endpoints) => {
                endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            }
            Peer::Node(endpoint) => format!("node {endpoint}"),
        }
    }

    #[test]
    fn arguments_win_over_the_context_and_the_context_over_this_machine() {
        let file = context_file(TWO);
        let current = Target::resolve(&given(&file), None).expect("right");
        assert_eq!(urls(&current), "http://a:7400,http://b:7400");
        let environment = Target::resolve(&given(&file), Some("http://z:1")).expect("right");
        assert_eq!(urls(&environment), "http://z:1");
        let named = Connection { context_name: Some("production".to_owned()), ..given(&file) };
        let target = Target::resolve(&named, Some("http://z:1")).expect("right");
        assert_eq!(urls(&target), "https://c:7400");
        assert_eq!(target.tls.ca_file, Some(PathBuf::from("/etc/ca.pem")));
        let ca_file = Some(PathBuf::from("/other.pem"));
        let overridden = Connection { endpoint: Some("d:1, https://e:2".to_owned()), ca_file, ..named };
        let overridden = Target::resolve(&overridden, None).expect("right");
        assert_eq!(urls(&overridden), "http://d:1,https://e:2");
        assert_eq!(overridden.tls.ca_file, Some(PathBuf::from("/other.pem")));
        assert_eq!(overridden.tls.server_name.as_deref(), Some("c"));
        let node = Connection { node_endpoint: Some("n:7401".to_owned()), ..given(&file) };
        assert_eq!(urls(&Target::resolve(&node, None).expect("right")), "node http://n:7401");
    }

    #[test]
    fn an_unknown_context_is_named_with_its_nearest() {
        let file = context_file(TWO);
        let named = Connection { context_name: Some("prodction".to_owned()), ..given(&file) };
        let fault = Target::resolve(&named, Some("http://z:1")).expect_err("unknown");
        assert_eq!(fault.exit_code(), 2);
        assert!(
            fault.to_string().ends_with("unknown context `prodction`: did you mean `production`?"),
            "{fault}"
        );
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let file = context_file("");
        let wrong = Connection { endpoint: Some("ftp://a:1".to_owned()), ..given(&file) };
        let fault = Target::resolve(&wrong, None).expect_err("no URL");
        assert_eq!(fault.to_string(), "--endpoint ftp://a:1: expected a URL such as http://coordinator:7400");
    }

    #[test]
    fn nodes_are_reached_as_safely_as_coordinators() {
        let file = context_file("");
        let secure = Connection { endpoint: Some("https://c:7400".to_owned()), ..given(&file) };
        let target = Target::resolve(&secure, None).expect("right");
        assert_eq!(urls(&target.node("10.0.0.1:7401").expect("an address")), "node https://10.0.0.1:7401");
        assert!(target.node("10.0.0.1").is_err());
    }
}
