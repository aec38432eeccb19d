//! Which keys a running node takes over.
//!
//! One table, which [`take`] follows: a test holds the two to each other. A key stands here once everything behind it follows
//! a change while datagrams are decoded; all other keys need a restart.

use catchment_settings::{Entry, Problem};

use crate::config::{Config, Listener, Loaded, Origin};

/// The keys. Of the listeners it is only `allow` that can change.
pub const LIVE: [&str; 12] = [
    "log.level",
    "metrics.top_exporters",
    "sources.flow.listeners",
    "exporter.name",
    "exporter.allow",
    "exporter.keep_unknown",
    "exporter.split_biflows",
    "exporter.names",
    "exporter.overrides",
    "pending.bytes",
    "pending.per_exporter_bytes",
    "pending.age",
];

const LISTENERS: &str = "sources.flow.listeners";

/// What is said of any other key.
const RESTART: &str = "needs a restart of the node";

/// Takes over the keys of [`LIVE`].
pub(super) fn take(running: &mut Config, new: &Config) {
    running.log.level = new.log.level;
    running.metrics.top_exporters = new.metrics.top_exporters;
    running.sources.flow.listeners.clone_from(&new.sources.flow.listeners);
    running.exporter.clone_from(&new.exporter);
    running.pending.clone_from(&new.pending);
}

/// The settings in which a new configuration differs and which a running node cannot change. What nobody set in either (what
/// a node works out at its start) is not looked at.
pub(super) fn fixed(started: &Loaded, new: &Loaded) -> Vec<Problem> {
    let settings = |loaded: &Loaded| {
        let mut settings = Vec::new();
        loaded.config.show(String::new(), &mut settings);
        settings
    };
    let mut problems: Vec<Problem> = Vec::new();
    for (old, now) in settings(started).into_iter().zip(settings(new)) {
        let key = now.path;
        let origin = new.origins.get(&key).or_else(|| started.origins.get(&key));
        let Some(origin) = origin.filter(|_| old.shown != now.shown || secret_differs(&key, started, new))
        else {
            continue;
        };
        let what = match key.as_str() {
            LISTENERS if same_sockets(&started.config, &new.config) => continue,
            LISTENERS => format!("{RESTART}, but for `allow`"),
            live if LIVE.contains(&live) => continue,
            _ => RESTART.to_owned(),
        };
        problems.push(Problem { origin: origin.clone(), key, what });
    }
    problems
}

/// The keys of a document that a running node cannot change.
pub(super) fn not_live<'a>(keys: impl IntoIterator<Item = (&'a String, &'a Origin)>) -> Vec<Problem> {
    let fixed = keys.into_iter().filter(|(key, _)| !LIVE.contains(&key.as_str()));
    let what = format!("{RESTART}, so it cannot be set here; what can be: {}", LIVE.join(", "));
    fixed
        .map(|(key, origin)| Problem { origin: origin.clone(), key: key.clone(), what: what.clone() })
        .collect()
}

fn same_sockets(old: &Config, new: &Config) -> bool {
    let (old, new) = (&old.sources.flow.listeners, &new.sources.flow.listeners);
    let same = |(a, b): (&Listener, &Listener)| {
        a.address == b.address && a.zone == b.zone && a.receive_buffer == b.receive_buffer
    };
    old.len() == new.len() && old.iter().zip(new).all(same)
}

/// Secrets look alike when they are shown.
fn secret_differs(key: &str, old: &Loaded, new: &Loaded) -> bool {
    let (old, new) = (&old.config.kafka, &new.config.kafka);
    match key {
        "kafka.sasl.password" => old.sasl.password != new.sasl.password,
        "kafka.tls.key_password" => old.tls.key_password != new.tls.key_password,
        "kafka.properties" => old.properties != new.properties,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use catchment_settings::{Catalogue, Shown};

    use super::*;
    use crate::config::Sources;

    fn load(set: &[&str]) -> Loaded {
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        Config::load(&Sources { set, ..Sources::default() }).unwrap()
    }

    #[test]
    fn every_live_key_exists_and_is_taken_over() {
        let catalogue = Catalogue::of::<Config>();
        let others = [
            "log.level=debug",
            "metrics.top_exporters=7",
            "listeners=[::1]:9",
            "exporter.name=agent",
            "exporter.allow=192.0.2.0/24",
            "exporter.keep_unknown=on",
            "exporter.split_biflows=on",
            "exporter.names=off",
            "exporter.overrides=192.0.2.0/24 sampling_rate=1000",
            "pending.bytes=1MiB",
            "pending.per_exporter_bytes=1KiB",
            "pending.age=7s",
        ];
        let (mut running, new) = (Config::default(), load(&others).config);
        take(&mut running, &new);
        let (mut taken, mut wanted, mut before) = (Vec::new(), Vec::new(), Vec::new());
        running.show(String::new(), &mut taken);
        new.show(String::new(), &mut wanted);
        Config::default().show(String::new(), &mut before);
        for key in LIVE {
            assert!(catalogue.knows(key), "{key}");
            let of = |settings: &[catchment_settings::Setting]| -> Shown {
                settings.iter().find(|setting| setting.path == key).unwrap().shown.clone()
            };
            assert_eq!(of(&taken), of(&wanted), "{key} is not taken over");
            assert_ne!(of(&taken), of(&before), "{key}: the test does not change it");
        }
        let changed = taken.iter().zip(&before).filter(|(taken, before)| taken != before);
        assert_eq!(changed.count(), LIVE.len(), "something is taken over that is not in the table");
    }

    #[test]
    fn what_needs_a_restart_names_its_place_and_what_is_worked_out_is_left_alone() {
        let started = load(&[
            "kafka.topic=a",
            "kafka.sasl.password=x",
            "kafka.sasl.username=u",
            "kafka.sasl.mechanism=PLAIN",
        ]);
        let mut new = load(&[
            "kafka.topic=b",
            "kafka.sasl.password=y",
            "kafka.sasl.username=u",
            "kafka.sasl.mechanism=PLAIN",
            "log.level=warn",
        ]);
        new.config.node.id = catchment_settings::Value::parse("another-host").unwrap();
        let problems: Vec<_> = fixed(&started, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "--set kafka.topic: kafka.topic: needs a restart of the node",
                "--set kafka.sasl.password: kafka.sasl.password: needs a restart of the node",
            ]
        );
        assert_eq!(fixed(&load(&["kafka.topic=a"]), &load(&[])).len(), 1, "a key that was taken out");
    }
}
