//! From the three sources to a configuration.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::model::Config;
use super::origin::{ConfigErrors, Origin, Problem};
use super::section::{Entry, Reading};
use super::tree::Node;
use super::{check, later, overlay, resolve, yaml};

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
}

impl Sources {
    /// A file and `--set` arguments, together with this process's environment.
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Sources {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        let mut env: Vec<_> = env.filter(|(name, _)| name.starts_with(overlay::PREFIX)).collect();
        env.sort();
        Sources { file, env, set }
    }
}

/// A configuration, and what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is accepted but doubtful. To be logged at start-up.
    pub warnings: Vec<Problem>,
    /// The place of every key that was set, by full key.
    pub origins: BTreeMap<String, Origin>,
}

impl Config {
    /// Reads all sources, fills in what depends on the host and checks that
    /// the settings agree with each other.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors::Unreadable`] where the file cannot be read, else all problems in the order of the sources.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let mut reading = Reading::default();
        let mut tree = Node::empty();
        if let Some(path) = &sources.file {
            tree = read_file(path, &mut reading.problems)?.unwrap_or(tree);
        }
        for (name, value) in &sources.env {
            overlay::environment(&mut tree, name, value);
        }
        for argument in &sources.set {
            overlay::argument(&mut tree, argument, &mut reading.problems);
        }

        let mut config = Config::default();
        config.read(&tree, "", None, &mut reading);
        resolve::resolve(&mut config, &mut reading);
        let mut warnings = check::check(&config, &mut reading);
        warnings.extend(later::warnings(&config, &reading.origins));

        let Reading { mut problems, origins } = reading;
        if problems.is_empty() {
            return Ok(Loaded { config, warnings, origins });
        }
        problems.sort_by_key(|problem| rank(&problem.origin));
        Err(ConfigErrors::Invalid(problems))
    }
}

fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Result<Option<Node>, ConfigErrors> {
    let unreadable = |source| ConfigErrors::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let at = |line, column| Origin::File { path: path.into(), line, column };
    let mut refuse = |origin, what: &str| {
        problems.push(Problem { origin, key: String::new(), what: what.to_owned() });
        Ok(None)
    };
    if bytes.len() as u64 > LARGEST_FILE {
        return refuse(at(1, 1), "larger than 4 MiB: this is no configuration file");
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(yaml::parse(path, text, problems)),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            refuse(at(line, column), "not UTF-8")
        }
    }
}

/// Problems are shown in the order of the file, then of the environment, then of the command line.
fn rank(origin: &Origin) -> (u8, usize, usize) {
    match origin {
        Origin::File { line, column, .. } => (0, *line, *column),
        Origin::Environment(_) => (1, 0, 0),
        Origin::Set(_) => (2, 0, 0),
        Origin::Default => (3, 0, 0),
    }
}
