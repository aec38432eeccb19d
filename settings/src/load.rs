//! From the sources to a configuration.
//!
//! ```text
//! file < cluster < environment < --set < set over grpc
//! ```

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalogue::Catalogue;
use crate::origin::{ConfigErrors, Origin, Problem};
use crate::program::{PROGRAMS, Program};
use crate::section::{Entry, Reading};
use crate::tree::Node;
use crate::{overlay, yaml};

/// The largest configuration file that is read.
const LARGEST_FILE: u64 = 4 << 20;

/// Where settings come from; a later source wins over an earlier one, key by key.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables, names and values. Those that do not begin with `CATCHMENT_` are ignored.
    pub env: Vec<(String, String)>,
    /// The arguments of `--set`, as `KEY=VALUE`.
    pub set: Vec<String>,
    /// Documents that came over the network while the process ran, those that win last.
    pub layers: Vec<Layer>,
}

/// A configuration document that is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Where it comes from. It decides what it is laid over.
    pub place: Place,
    /// YAML.
    pub text: String,
}

/// Where a document comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(Arc<Path>),
    /// The cluster: above the file, below environment and arguments.
    Cluster {
        /// Its revision; 0 where it has none yet.
        revision: u64,
    },
    /// A person, over gRPC: above everything, until the process ends.
    Control,
}

impl Place {
    /// A position in the document; line and column count from 1.
    pub(crate) fn at(&self, line: usize, column: usize) -> Origin {
        match self {
            Self::File(path) => Origin::File { path: path.clone(), line, column },
            Self::Cluster { revision } => Origin::Cluster { revision: *revision, line, column },
            Self::Control => Origin::Control { line, column },
        }
    }
}

impl Layer {
    /// The keys that are set in it, each with its place, in the order of the keys.
    ///
    /// # Errors
    /// What is wrong with the document by itself.
    pub fn keys<C: Configuration>(&self) -> Result<BTreeMap<String, Origin>, ConfigErrors> {
        let mut reading = Reading::new(Catalogue::of::<C>());
        let tree = self.tree(&mut reading.problems).unwrap_or_else(Node::empty);
        C::default().read(&tree, "", None, &mut reading);
        if !reading.problems.is_empty() {
            return Err(ConfigErrors::Invalid(reading.problems));
        }
        // A list of sections is one key.
        reading.origins.retain(|key, _| !key.contains('['));
        Ok(reading.origins)
    }

    fn tree(&self, problems: &mut Vec<Problem>) -> Option<Node> {
        if self.text.len() as u64 > LARGEST_FILE {
            let what = "larger than 4 MiB: this is no configuration".to_owned();
            problems.push(Problem { origin: self.place.at(1, 1), key: String::new(), what });
            return None;
        }
        yaml::parse(&self.place, &self.text, problems)
    }
}

impl Sources {
    /// A file and `--set` arguments, together with this process's environment.
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Sources {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        let mut env: Vec<_> = env.filter(|(name, _)| name.starts_with(overlay::PREFIX)).collect();
        env.sort();
        Sources { file, env, set, layers: Vec::new() }
    }
}

/// The configuration of a program: its keys by [`section!`](crate::section!), and what declarations cannot say.
pub trait Configuration: Entry + Default {
    /// Whose configuration it is.
    const PROGRAM: &'static Program;

    /// Fills in what the declarations leave open: defaults that depend on the host or on other keys, secrets in files.
    fn resolve(&mut self, reading: &mut Reading);

    /// Reports settings that contradict each other to `reading`, and returns what is only doubtful.
    fn check(&self, reading: &mut Reading) -> Vec<Problem>;
}

/// A configuration, and what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<C> {
    /// The configuration.
    pub config: C,
    /// What is accepted but doubtful. To be logged at start-up.
    pub warnings: Vec<Problem>,
    /// The place of every key that was set, by full key.
    pub origins: BTreeMap<String, Origin>,
}

impl<C: Configuration> Loaded<C> {
    /// Reads all sources, fills in what depends on the host and checks that
    /// the settings agree with each other.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors::Unreadable`] where the file cannot be read, else all problems in the order of the sources.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let catalogue = Catalogue::of::<C>();
        let mut reading = Reading::new(catalogue.clone());
        let mut tree = Node::empty();
        if let Some(path) = &sources.file {
            tree = read_file(path, &mut reading.problems)?.unwrap_or(tree);
        }
        let (over, below): (Vec<_>, Vec<_>) =
            sources.layers.iter().partition(|layer| layer.place == Place::Control);
        lay(&mut tree, &below, &mut reading.problems);
        let mut foreign = Vec::new();
        for (name, value) in &sources.env {
            let owner = overlay::environment(&mut tree, &catalogue, name, value);
            foreign.extend(owner.map(|owner| (owner, name.as_str())));
        }
        for argument in &sources.set {
            overlay::argument(&mut tree, &catalogue, argument, &mut reading.problems);
        }
        lay(&mut tree, &over, &mut reading.problems);

        let mut config = C::default();
        config.read(&tree, "", None, &mut reading);
        config.resolve(&mut reading);
        let mut warnings = config.check(&mut reading);
        warnings.extend(left_to_others(&foreign));

        let Reading { mut problems, origins, .. } = reading;
        if problems.is_empty() {
            return Ok(Loaded { config, warnings, origins });
        }
        problems.sort_by_key(|problem| rank(&problem.origin));
        Err(ConfigErrors::Invalid(problems))
    }
}

/// One warning for each program whose variables were found.
fn left_to_others(foreign: &[(&'static Program, &str)]) -> Vec<Problem> {
    let warning = |owner: &&'static Program| {
        let names = foreign.iter().filter(|(other, _)| other == owner).map(|(_, name)| *name);
        let names = names.collect::<Vec<_>>().join(", ");
        let what = format!("for {}: no effect here", owner.called);
        (!names.is_empty()).then_some(Problem {
            origin: Origin::Environment(names),
            key: String::new(),
            what,
        })
    };
    PROGRAMS.iter().filter_map(warning).collect()
}

/// Lays documents over `tree`, the later ones over the earlier.
fn lay(tree: &mut Node, layers: &[&Layer], problems: &mut Vec<Problem>) {
    for over in layers.iter().filter_map(|layer| layer.tree(problems)) {
        tree.lay(over);
    }
}

fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Result<Option<Node>, ConfigErrors> {
    let unreadable = |source| ConfigErrors::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let place = Place::File(path.into());
    let at = |line, column| place.at(line, column);
    let mut refuse = |origin, what: &str| {
        problems.push(Problem { origin, key: String::new(), what: what.to_owned() });
        Ok(None)
    };
    if bytes.len() as u64 > LARGEST_FILE {
        return refuse(at(1, 1), "larger than 4 MiB: this is no configuration file");
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(yaml::parse(&place, text, problems)),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            refuse(at(line, column), "not UTF-8")
        }
    }
}

/// Problems are shown in the order of the sources, inside of a document by position.
fn rank(origin: &Origin) -> (u8, usize, usize) {
    match origin {
        Origin::File { line, column, .. } => (0, *line, *column),
        Origin::Cluster { line, column, .. } => (1, *line, *column),
        Origin::Environment(_) => (2, 0, 0),
        Origin::Set(_) => (3, 0, 0),
        Origin::Control { line, column } => (4, *line, *column),
        Origin::Default => (5, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    fn load(env: &[(&str, &str)], set: &[&str]) -> Result<Loaded<Sample>, ConfigErrors> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        Loaded::load(&Sources { env, set, ..Sources::default() })
    }

    fn problems(loaded: Result<Loaded<Sample>, ConfigErrors>) -> String {
        loaded.expect_err("problems").to_string()
    }

    #[test]
    fn the_sample_is_declared_well() {
        assert_eq!(Catalogue::mistakes::<Sample>(), Vec::<String>::new());
    }

    #[test]
    fn arguments_win_over_the_environment_and_the_environment_over_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, "batch: {age: 1ms, bytes: 2KiB}\nudp: {gro: off}\n").expect("written");
        let sources = Sources {
            file: Some(path),
            env: vec![
                ("CATCHMENT_BATCH__AGE".to_owned(), "2ms".to_owned()),
                ("CATCHMENT_BATCH__BYTES".to_owned(), "3KiB".to_owned()),
            ],
            set: vec!["batch.age=3ms".to_owned()],
            ..Sources::default()
        };
        let config = Loaded::<Sample>::load(&sources).expect("right").config;
        assert_eq!(config.batch.age, std::time::Duration::from_millis(3));
        assert_eq!(config.batch.bytes, crate::ByteSize::new(3 << 10));
        assert!(!config.udp.gro);
    }

    fn layer(place: Place, text: &str) -> Layer {
        Layer { place, text: text.to_owned() }
    }

    #[test]
    fn the_cluster_stands_between_file_and_environment_and_a_person_above_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, "batch: {age: 1ms, bytes: 2KiB}\nnode: {workers: 3, id: a}\n")
            .expect("written");
        let cluster =
            layer(Place::Cluster { revision: 7 }, "batch:\n  age: 4ms\n  bytes:\nnode: {workers: 4, id: b}");
        let person = layer(Place::Control, "node:\n  id: d\n");
        let sources = Sources {
            file: Some(path),
            set: vec!["node.workers=5".to_owned(), "node.id=c".to_owned()],
            layers: vec![cluster.clone(), person],
            ..Sources::default()
        };
        let loaded = Loaded::<Sample>::load(&sources).expect("right");
        let yaml = loaded.to_yaml();
        for line in [
            "  id: d  # set over grpc, line 2:7\n",
            "  workers: 5  # --set node.workers\n",
            "  age: 4ms  # cluster revision 7, line 2:8\n",
        ] {
            assert!(yaml.contains(line), "no {line:?} in\n{yaml}");
        }
        assert_eq!(loaded.config.batch.bytes, crate::ByteSize::new(2 << 10), "an empty key is not set");
        let keys = cluster.keys::<Sample>().expect("right");
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["batch.age", "node.id", "node.workers"]);
    }

    #[test]
    fn a_layer_names_line_and_key_of_what_is_wrong() {
        let wrong = layer(Place::Cluster { revision: 0 }, "batch:\n  aeg: 4ms\n");
        let expected = "cluster configuration, line 2:3: batch.aeg: unknown key; did you mean `batch.age`?";
        assert_eq!(wrong.keys::<Sample>().expect_err("unknown").to_string(), expected);
        let sources = Sources { layers: vec![wrong], ..Sources::default() };
        assert_eq!(problems(Loaded::load(&sources)), expected);
        let inside =
            layer(Place::Control, "listeners: [{address: \"127.0.0.1:1\", zoen: x}]\n").keys::<Sample>();
        let said = inside.expect_err("unknown").to_string();
        assert!(said.ends_with("listeners[0].zoen: unknown key; did you mean `listeners[].zone`?"), "{said}");
        let syntax = layer(Place::Control, "batch: {age: 1ms\nnode: x\n").keys::<Sample>();
        let said = syntax.expect_err("no YAML").to_string();
        assert!(said.starts_with("set over grpc, line 2:") && said.contains("not YAML"), "{said}");
    }

    #[test]
    fn what_contradicts_and_what_is_doubtful_name_their_place() {
        assert_eq!(
            problems(load(&[], &["batch.bytes=2MiB", "kafka.queue_bytes=1MiB"])),
            "--set batch.bytes: batch.bytes: larger than the queue"
        );
        let doubtful = load(&[("CATCHMENT_LISTENERS_SHARED", "on")], &[]).expect("right");
        let warnings: Vec<String> = doubtful.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            ["environment variable CATCHMENT_LISTENERS_SHARED: listeners_shared: somebody else may listen"]
        );
    }

    #[test]
    fn another_programs_variables_are_named_once_and_mistakes_refused() {
        let shared = [("CATCHMENT_ETCD__ENDPOINTS", "http://e:2379"), ("CATCHMENT_STORE", "etcd")];
        let loaded = load(&shared, &[]).expect("not this program's");
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "environment variable CATCHMENT_ETCD__ENDPOINTS, CATCHMENT_STORE: for the coordinator: no effect here"
            ]
        );
        assert_eq!(
            problems(load(&[("CATCHMENT_KAFKA__BROKRES", "a:1")], &[])),
            "environment variable CATCHMENT_KAFKA__BROKRES: kafka.brokres: unknown key; \
             did you mean `kafka.brokers` (CATCHMENT_KAFKA__BROKERS)?"
        );
        // Arguments are for one program: there a key of another one is a mistake.
        assert!(problems(load(&[], &["store=etcd"])).contains("store: unknown key"));
    }

    #[test]
    fn a_secret_comes_from_its_file_and_is_not_printed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2\n").expect("written");
        let set = format!("kafka.password_file={}", path.display());
        let loaded = load(&[], &[&set]).expect("right");
        assert_eq!(loaded.config.kafka.password.as_ref().map(crate::Secret::expose), Some("hunter2"));
        assert!(!loaded.to_yaml().contains("hunter2"));
        let both = problems(load(&[], &[&set, "kafka.password=x"]));
        assert!(both.ends_with("kafka.password_file: set together with kafka.password; keep one"), "{both}");
    }

    #[test]
    fn what_is_printed_loads_as_the_same_configuration() {
        let set = [
            "listeners=127.0.0.1:1",
            "kafka.properties.linger.ms=5",
            "kafka.brokers=a:1,[::1]:2",
            "node.id=null",
        ];
        let loaded = load(&[], &set).expect("right");
        let yaml = loaded.to_yaml();
        for line in [
            "  workers: 2  # worked out by the node\n",
            "listeners:  # --set listeners\n  - address: \"127.0.0.1:1\"\n    zone: \"\"\n    allow: []\n",
            "  properties:\n    linger.ms: 5  # --set kafka.properties.linger.ms\n",
        ] {
            assert!(yaml.contains(line), "no {line:?} in\n{yaml}");
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, &yaml).expect("written");
        let again = Loaded::<Sample>::load(&Sources { file: Some(path), ..Sources::default() });
        assert_eq!(again.expect("right").config, loaded.config);
    }
}
