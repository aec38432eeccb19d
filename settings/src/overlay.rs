//! The environment and `--set`, laid over the file.
//!
//! `CATCHMENT_KAFKA__QUEUE_BYTES=1MiB` and `--set kafka.queue_bytes=1MiB` set the same key: in the environment the levels are
//! separated by two underscores and the letters are capitals. A name in a map (a librdkafka property, say) has dots, which
//! are one underscore in the environment: `CATCHMENT_KAFKA__PROPERTIES__LINGER_MS` is `linger.ms`.

use crate::catalogue::Catalogue;
use crate::origin::{Origin, Problem};
use crate::program::{PROGRAMS, Program};
use crate::tree::{Content, Node};

/// Environment variables of Catchment begin so.
pub(crate) const PREFIX: &str = "CATCHMENT_";

/// Variables with the prefix that are no keys: the commit at build time, the contexts of `catchctl`, and what the project's
/// own tests and scripts share (`CATCHMENT_TEST_` begins more of them). The programs' files are none either.
const NO_KEYS: [&str; 5] =
    ["CATCHMENT_COMMIT", "CATCHMENT_CONTEXT", "CATCHMENT_SHARED", "CATCHMENT_CACHE", "CATCHMENT_SERVICES"];

/// Lays one environment variable over `tree`, unless it is not for this program: one without the prefix, one that is no key,
/// or one of another program, which is returned.
pub(crate) fn environment(
    tree: &mut Node,
    catalogue: &Catalogue,
    name: &str,
    value: &str,
) -> Option<&'static Program> {
    let key = name.strip_prefix(PREFIX)?;
    let is_file = PROGRAMS.iter().any(|program| program.file_variable == name);
    if is_file || NO_KEYS.contains(&name) || key.starts_with("TEST_") {
        return None;
    }
    let mut key = key.to_lowercase().replace("__", ".");
    if let Some((map, named)) = catalogue.map(&key) {
        key = format!("{map}.{}", named.replace('_', "."));
    } else if !catalogue.knows(&key) {
        if is_service_link(name) {
            return None;
        }
        let owner = PROGRAMS.into_iter().find(|program| program.owns(&key));
        if let Some(owner) = owner.filter(|owner| *owner != catalogue.program()) {
            return Some(owner);
        }
    }
    put(tree, catalogue, &key, value, Origin::Environment(name.to_owned()));
    None
}

/// Lays one `--set KEY=VALUE` over `tree`.
pub(crate) fn argument(tree: &mut Node, catalogue: &Catalogue, argument: &str, problems: &mut Vec<Problem>) {
    match argument.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            let key = key.trim();
            put(tree, catalogue, key, value, Origin::Set(key.to_owned()));
        }
        _ => problems.push(Problem {
            origin: Origin::Set(argument.to_owned()),
            key: String::new(),
            what: "expected KEY=VALUE such as kafka.brokers=kafka-1:9092,kafka-2:9092".to_owned(),
        }),
    }
}

/// The environment variable that sets `key`.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

fn put(tree: &mut Node, catalogue: &Catalogue, key: &str, value: &str, origin: Origin) {
    let path: Vec<&str> = match catalogue.map(key) {
        // The rest is one name, dots and all.
        Some((map, name)) => map.split('.').chain([name]).collect(),
        None => key.split('.').collect(),
    };
    tree.put(&path, Node { origin, content: Content::Scalar(value.to_owned()) });
}

/// Kubernetes gives every pod variables about the Services of its namespace; those of a Service named `catchment...` begin
/// with our prefix and must not stop the program.
fn is_service_link(name: &str) -> bool {
    let port = |tail: &str| {
        let mut parts = tail.split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        let protocol = matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"));
        number && protocol && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT")
        || name.match_indices("_PORT_").any(|(at, found)| port(&name[at + found.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn set(name: &str) -> Node {
        let mut tree = Node::empty();
        environment(&mut tree, &sample::catalogue(), name, "x");
        tree
    }

    fn keys(mut node: &Node) -> Vec<&str> {
        let mut keys = Vec::new();
        while let Content::Map(entries) = &node.content {
            let Some(entry) = entries.first() else { break };
            keys.push(entry.key.as_str());
            node = &entry.value;
        }
        keys
    }

    #[test]
    fn two_underscores_separate_levels() {
        assert_eq!(keys(&set("CATCHMENT_KAFKA__QUEUE_BYTES")), ["kafka", "queue_bytes"]);
        assert_eq!(keys(&set("CATCHMENT_LISTENERS_SHARED")), ["listeners_shared"]);
        assert_eq!(
            keys(&set("CATCHMENT_KAFKA__PROPERTIES__LINGER_MS")),
            ["kafka", "properties", "linger.ms"]
        );
        assert_eq!(keys(&set("PATH")), Vec::<&str>::new());
        for name in ["CATCHMENT_CONFIG", "CATCHMENT_SHARED", "CATCHMENT_TEST_KAFKA"] {
            assert_eq!(keys(&set(name)), Vec::<&str>::new(), "{name}");
        }
    }

    #[test]
    fn property_names_keep_their_dots() {
        let mut tree = Node::empty();
        argument(&mut tree, &sample::catalogue(), "kafka.properties.linger.ms=5", &mut Vec::new());
        assert_eq!(keys(&tree), ["kafka", "properties", "linger.ms"]);
    }

    #[test]
    fn kubernetes_service_links_are_not_keys() {
        for name in [
            "CATCHMENT_SERVICE_HOST",
            "CATCHMENT_INGEST_SERVICE_PORT",
            "CATCHMENT_INGEST_SERVICE_PORT_GRPC",
            "CATCHMENT_INGEST_PORT",
            "CATCHMENT_INGEST_PORT_2055_UDP",
            "CATCHMENT_INGEST_PORT_7401_TCP_ADDR",
        ] {
            assert_eq!(keys(&set(name)), Vec::<&str>::new(), "{name}");
        }
        assert_eq!(keys(&set("CATCHMENT_NODE__PORT_NAME")), ["node", "port_name"], "a slip is still a slip");
    }

    #[test]
    fn variables_of_another_program_are_left_to_it() {
        let catalogue = sample::catalogue();
        for name in ["CATCHMENT_ETCD__ENDPOINTS", "CATCHMENT_STORE", "CATCHMENT_TEMPLATES__MAX_DOMAINS"] {
            let mut tree = Node::empty();
            let owner = environment(&mut tree, &catalogue, name, "x").map(|program| program.name);
            assert_eq!((owner, keys(&tree)), (Some("coordinator"), vec![]), "{name}");
        }
        for name in ["CATCHMENT_KAFKA__BROKRES", "CATCHMENT_LOG__LEVLE", "CATCHMENT_QUUX"] {
            let mut tree = Node::empty();
            assert_eq!(environment(&mut tree, &catalogue, name, "x"), None);
            assert!(!keys(&tree).is_empty(), "{name} is a mistake of this program");
        }
        assert_eq!(keys(&set("CATCHMENT_COORDINATOR_CONFIG")), Vec::<&str>::new());
    }

    #[test]
    fn arguments_without_a_value_are_refused() {
        for wrong in ["", "kafka.topic", "=x"] {
            let mut problems = Vec::new();
            argument(&mut Node::empty(), &sample::catalogue(), wrong, &mut problems);
            assert_eq!(problems.len(), 1, "{wrong:?}");
        }
    }
}
