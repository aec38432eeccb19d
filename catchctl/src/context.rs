//! The context file: clusters by name, and which one is meant where none is named.
//!
//! ```yaml
//! current: lab
//! contexts:
//!   - name: lab
//!     endpoints: [http://coordinator-1:7400, http://coordinator-2:7400]
//!   - name: production
//!     endpoints: [https://coordinator.example.net:7400]
//!     tls:
//!       ca_file: /etc/catchment/ca.pem
//!       cert_file: /home/ann/ann.pem
//!       key_file: /home/ann/ann.key
//! ```
//!
//! It is read as all of Catchment's configuration is: a mistake names file, line, key and the nearest key.

use std::path::{Path, PathBuf};

use catchment_serving::grpc::ClientTls;
use catchment_settings::{
    ConfigErrors, Configuration, Element, Endpoint, Entry as _, Key, Label, Limits, Loaded, Node, Problem,
    Program, Reading, Shown, Sources, Status, section,
};

use crate::fault::Fault;
use crate::nearest;

/// The program, for the settings machinery. No environment variable is a key of it.
static CATCHCTL: Program =
    Program { name: "catchctl", called: "catchctl", file_variable: "CATCHCTL_CONTEXT", own: &[] };

section! {
    /// The context file.
    File {
        /// The context that is meant where none is named.
        current: Option<Label> = "",
        /// The clusters.
        contexts: Vec<Context> = "",
    }
}

section! {
    /// One cluster.
    Context {
        /// What it is called here.
        name: Option<Label> = "",
        /// Its coordinators.
        endpoints: Vec<Endpoint> = "",
        /// Files for `https://`.
        tls: ClientTls,
    }
}

/// A context file that has been read.
#[derive(Debug)]
pub(crate) struct Contexts {
    path: PathBuf,
    file: File,
}

impl Contexts {
    /// The file that was named, or the one at the usual place where there is one.
    pub(crate) fn find(named: Option<&Path>) -> Result<Option<Self>, Fault> {
        let path = match (named, default_path()) {
            (Some(path), _) => path.to_owned(),
            (None, Some(path)) if path.exists() => path,
            (None, _) => return Ok(None),
        };
        let sources = Sources { file: Some(path.clone()), ..Sources::default() };
        match Loaded::<File>::load(&sources) {
            Ok(loaded) => Ok(Some(Self { path, file: loaded.config })),
            Err(ConfigErrors::Unreadable { path, source }) => {
                Err(Fault::Usage(format!("cannot read the context file {}: {source}", path.display())))
            }
            Err(invalid) => Err(Fault::Usage(invalid.to_string())),
        }
    }

    /// The context called `name`, else the current one, else none.
    pub(crate) fn choose(&self, name: Option<&str>) -> Result<Option<&Context>, Fault> {
        let Some(name) = name.or(self.file.current.as_ref().map(Label::as_str)) else { return Ok(None) };
        let is = |context: &&Context| context.name.as_ref().is_some_and(|own| own.as_str() == name);
        if let Some(context) = self.file.contexts.iter().find(is) {
            return Ok(Some(context));
        }
        let names: Vec<&str> =
            self.file.contexts.iter().filter_map(|context| Some(context.name.as_ref()?.as_str())).collect();
        let what = nearest::unknown("context", name, &names, "the file has none");
        Err(Fault::Usage(format!("{}: {what}", self.path.display())))
    }
}

impl Context {
    /// Its coordinators, at least one.
    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Its certificates.
    pub(crate) fn tls(&self) -> ClientTls {
        self.tls.clone()
    }
}

/// `$XDG_CONFIG_HOME/catchctl/context.yaml`, else `~/.config/catchctl/context.yaml`.
pub(crate) fn default_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let folder = folder.or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(folder.join("catchctl").join("context.yaml"))
}

impl Configuration for File {
    const PROGRAM: &'static Program = &CATCHCTL;

    fn resolve(&mut self, _reading: &mut Reading) {}

    fn check(&self, reading: &mut Reading) -> Vec<Problem> {
        for (at, context) in self.contexts.iter().enumerate() {
            let [name, endpoints] = ["name", "endpoints"].map(|key| format!("contexts[{at}].{key}"));
            let same = |other: &Context| other.name == context.name;
            if context.name.is_none() {
                reading.conflict([&name, &endpoints], "a context needs a name");
            } else if self.contexts[..at].iter().any(same) {
                reading.conflict([&name, &name], "a context before has the same name");
            }
            if context.endpoints.is_empty() {
                let what = "a context needs endpoints, such as [http://coordinator:7400]";
                reading.conflict([&endpoints, &name], what);
            }
        }
        Vec::new()
    }
}

impl Element for Context {
    fn from_default(_text: &str) -> Self {
        Context::default()
    }

    fn read_element(node: &Node, path: &str, _limits: Option<Limits>, reading: &mut Reading) -> Option<Self> {
        let mut context = Context::default();
        context.read(node, path, None, reading);
        Some(context)
    }

    fn list_elements(key: Key, keys: &mut Vec<Key>) {
        let path = format!("{}[]", key.path);
        keys.push(Key { kind: "context", status: Status::List, ..key });
        Context::list(Key { path, ..Key::default() }, keys);
    }

    fn show_elements(elements: &[Self]) -> Shown {
        let section = |context: &Context| {
            let mut inner = Vec::new();
            context.show(String::new(), &mut inner);
            inner
        };
        Shown::Sections(elements.iter().map(section).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn read(text: &str) -> Result<Option<Contexts>, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let name = file.path().display().to_string();
        Contexts::find(Some(file.path())).map_err(|fault| {
            assert_eq!(fault.exit_code(), 2);
            fault.to_string().replace(&name, "context.yaml")
        })
    }

    #[test]
    fn mistakes_name_file_line_and_key() {
        for (text, wanted) in [
            ("curent: lab\n", "context.yaml:1:1: curent: unknown key; did you mean `current`?"),
            (
                "contexts:\n  - name: lab\n    endpionts: [http://a:1]\n",
                "context.yaml:3:5: contexts[0].endpionts: unknown key; did you mean `contexts[].endpoints`?",
            ),
            (
                "contexts:\n  - name: lab\n    endpoints: [a]\n",
                "context.yaml:3:17: contexts[0].endpoints[0]: expected a URL such as http://coordinator:7400, found \"a\"",
            ),
            (
                "contexts:\n  - name: lab\n",
                "context.yaml:2:11: contexts[0].endpoints: a context needs endpoints",
            ),
            (
                "contexts:\n  - endpoints: [http://a:1]\n",
                "context.yaml:2:16: contexts[0].name: a context needs a name",
            ),
            ("contexts: [a\n", "context.yaml:2:1: not YAML"),
        ] {
            let said = read(text).expect_err(text);
            assert!(said.contains(wanted), "{said}\nhas no\n{wanted}");
        }
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let twice =
            "contexts:\n  - {name: a, endpoints: [http://a:1]}\n  - {name: a, endpoints: [http://b:1]}\n";
        let said = read(twice).expect_err("twice");
        assert!(said.contains("context.yaml:3:") && said.contains("same name"), "{said}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let fault = Contexts::find(Some(Path::new("/nowhere/context.yaml"))).expect_err("not there");
        assert!(
            fault.to_string().starts_with("cannot read the context file /nowhere/context.yaml: "),
            "{fault}"
        );
        assert_eq!(fault.exit_code(), 2);
    }

    #[test]
    fn without_a_current_context_none_is_meant() {
        let file = read("contexts: [{name: a, endpoints: [http://a:1]}]\n").expect("right").expect("there");
        assert!(file.choose(None).expect("none").is_none());
        assert!(file.choose(Some("a")).expect("there").is_some());
    }
}
