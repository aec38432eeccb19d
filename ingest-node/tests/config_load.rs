//! The configuration as its users see it: three sources in, one tree or all the problems out.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ingest_node::config::{Config, ConfigErrors, Framing, Label, Loaded, Output, Override, Secret, Sources};
use proptest::prelude::*;

/// A configuration file in a directory of its own.
struct ConfigFile {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl ConfigFile {
    fn new(text: impl AsRef<[u8]>) -> ConfigFile {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.yaml");
        std::fs::write(&path, text).expect("a file");
        ConfigFile { _dir: dir, path }
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        Config::load(&Sources { file: Some(self.path.clone()), ..Sources::default() })
    }

    /// The problems with the directory left out of the file's name.
    fn problems(&self) -> Vec<String> {
        let error = self.load().expect_err("problems").to_string();
        let dir = format!("{}/", self.path.parent().expect("a directory").display());
        error.replace(&dir, "").lines().map(str::to_owned).collect()
    }
}

fn load_set(arguments: &[&str]) -> Result<Loaded, ConfigErrors> {
    let set = arguments.iter().map(|text| (*text).to_owned()).collect();
    Config::load(&Sources { set, ..Sources::default() })
}

fn problems_of(arguments: &[&str]) -> Vec<String> {
    load_set(arguments).expect_err("problems").to_string().lines().map(str::to_owned).collect()
}

#[test]
fn overrides_are_sections_or_words_and_print_as_they_load() {
    let file = ConfigFile::new(concat!(
        "exporter:\n  keep_unknown: on\n  overrides:\n",
        "    - prefix: 192.0.2.0/24\n      zone: lab\n      sampling_rate: 1000\n      fields:\n",
        "        - {pen: 9, element: 12232, field: application_id}\n        - 411=src_sgt\n",
        "    - 2001:db8::/32 sampling_default=50 keep_unknown=off 9/1=extra 34000=dst_sgt\n",
    ));
    let loaded = file.load().expect("right");
    let [lab, v6] = &loaded.config.exporter.overrides[..] else { panic!("two") };
    assert_eq!((lab.sampling_rate.map(NonZeroU32::get), lab.keep_unknown), (Some(1000), None));
    assert_eq!(lab.zone.as_ref().map(Label::as_str), Some("lab"));
    let fields = |known: &Override| -> Vec<_> {
        known.fields.iter().map(|of| (of.pen, of.element, of.field.destination().name())).collect()
    };
    assert_eq!(fields(lab), [(9, 12232, "application_id"), (0, 411, "src_sgt")]);
    assert_eq!((v6.sampling_default.map(NonZeroU32::get), v6.keep_unknown), (Some(50), Some(false)));
    assert_eq!(fields(v6), [(9, 1, "extra"), (0, 34000, "dst_sgt")]);
    let printed = ConfigFile::new(loaded.to_yaml()).load().expect("what is printed loads");
    assert_eq!(printed.config.exporter, loaded.config.exporter);
    let set =
        load_set(&["exporter.overrides=192.0.2.7 411=src_sgt,10.0.0.0/8 sampling_rate=7"]).expect("right");
    assert_eq!(set.config.exporter.overrides.len(), 2);
}

#[test]
fn wrong_overrides_name_their_line_and_what_was_meant() {
    let file = ConfigFile::new(concat!(
        "exporter:\n  overrides:\n",
        "    - prefix: 192.0.2.1/24\n",
        "    - prefix: 192.0.2.0/24\n      sampling_rat: 5\n      fields:\n",
        "        - {element: 411, field: src_sgtt}\n        - {element: 82, field: src_sgt}\n",
        "        - {pen: 9, element: 34000, field: src_sgt}\n        - {field: extra}\n        - {element: 7}\n",
        "        - 95=extra\n        - 95=application_id\n        - nonsense\n",
        "    - sampling_rate: 0\n",
        "    - 192.0.2.0/24 sampling_rate=1 sampling_default=2\n",
        "    - 10.0.0.0/8 411=sgt 231=in_if frobnicated=5\n",
    ));
    assert_eq!(
        file.problems(),
        [
            "node.yaml:3:15: exporter.overrides[0].prefix: \"192.0.2.1/24\": has bits set beyond its length; \
             the network is 192.0.2.0/24",
            "node.yaml:4:7: exporter.overrides[1].fields[6]: 95 is mapped twice; an element goes to one field",
            "node.yaml:5:7: exporter.overrides[1].sampling_rat: unknown key; did you mean \
             `exporter.overrides[].sampling_rate`?",
            "node.yaml:7:33: exporter.overrides[1].fields[0].field: \"src_sgtt\": no field that an element can fill; \
             did you mean `src_sgt`?",
            "node.yaml:8:11: exporter.overrides[1].fields[1].field: src_sgt holds a number of 32 bits, and \
             interfaceName is text",
            "node.yaml:9:11: exporter.overrides[1].fields[2].element: 34000: elements of an enterprise have numbers \
             up to 32767 (without the bit that says so)",
            "node.yaml:10:11: exporter.overrides[1].fields[3].element: a field map needs the element's number",
            "node.yaml:11:11: exporter.overrides[1].fields[4].field: a field map needs a field",
            "node.yaml:14:11: exporter.overrides[1].fields[7]: expected [PEN/]ELEMENT=FIELD such as 411=src_sgt",
            "node.yaml:15:7: exporter.overrides[2].prefix: an override needs a prefix",
            "node.yaml:15:22: exporter.overrides[2].sampling_rate: expected a whole number above 0, found \"0\"",
            "node.yaml:16:7: exporter.overrides[3].sampling_default: has no effect beside sampling_rate, which counts \
             whatever the exporter says",
            "node.yaml:16:7: exporter.overrides[3].prefix: 192.0.2.0/24 has an override already",
            "node.yaml:17:7: exporter.overrides[4].fields[0].field: \"sgt\": no field that an element can fill; did you \
             mean `src_sgt`?",
            "node.yaml:17:7: exporter.overrides[4].fields[1].field: in_if holds a number of 32 bits, and \
             initiatorOctets is a number of 64 bits",
            "node.yaml:17:7: exporter.overrides[4].frobnicated: unknown key",
        ]
    );
}

#[test]
fn no_configuration_is_one() {
    let loaded = Config::load(&Sources::default()).expect("the defaults");
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.output, Output::Stdout);
    let addresses: Vec<String> =
        loaded.config.sources.flow.listeners.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["[::]:2055", "[::]:4739", "[::]:6343"]);
    let cpus = std::thread::available_parallelism().expect("a count");
    assert_eq!(loaded.config.node.workers, cpus);
    assert_eq!(loaded.config.kafka.producers.get(), cpus.get().min(4));
}

#[test]
fn later_sources_win_key_by_key() {
    let file =
        ConfigFile::new("kafka:\n  brokers: [a:1, b:2]\n  topic: file\n  queue_age: 1s\n  framing: list\n");
    let loaded = Config::load(&Sources {
        file: Some(file.path.clone()),
        env: vec![
            ("CATCHMENT_KAFKA__TOPIC".to_owned(), "environment".to_owned()),
            ("CATCHMENT_KAFKA__QUEUE_AGE".to_owned(), "3s".to_owned()),
        ],
        set: vec!["kafka.topic=argument".to_owned()],
        ..Sources::default()
    })
    .expect("right");
    let kafka = &loaded.config.kafka;
    assert_eq!(kafka.topic.as_str(), "argument");
    assert_eq!(kafka.queue_age, Duration::from_secs(3));
    assert_eq!(kafka.framing, Framing::List);
    assert_eq!(loaded.config.output, Output::Kafka, "brokers are set");
    assert_eq!(loaded.origins["kafka.topic"].to_string(), "--set kafka.topic");
    assert!(loaded.origins["kafka.framing"].to_string().ends_with("node.yaml:5:12"));
}

#[test]
fn all_problems_of_a_file_are_reported_in_its_order() {
    let file = ConfigFile::new(concat!(
        "node:\n  workers: 0\nkafak:\n  brokers: x\nkafka:\n  brokres: [a:1]\n",
        "  queue_bytes: 64 apples\n  topic: a\n  topic: b\n  framing: boxed\nbatch:\n  age: 5\n",
    ));
    assert_eq!(
        file.problems(),
        [
            "node.yaml:2:12: node.workers: expected a whole number above 0, found \"0\"",
            "node.yaml:3:1: kafak: unknown key; did you mean `kafka`?",
            "node.yaml:6:3: kafka.brokres: unknown key; did you mean `kafka.brokers`?",
            "node.yaml:7:16: kafka.queue_bytes: expected a size such as 64MiB, 64MB or a number of bytes, found \"64 apples\"",
            "node.yaml:9:3: kafka.topic: set twice; the first is at node.yaml:8:3",
            "node.yaml:10:12: kafka.framing: expected one of packed list single single-delimited, found \"boxed\"",
            "node.yaml:12:8: batch.age: \"5\": has no unit: expected a duration such as 500ms, 2s or 1h30m",
        ]
    );
}

#[test]
fn problems_outside_a_file_name_the_variable_and_the_argument() {
    let error = Config::load(&Sources {
        env: vec![
            ("CATCHMENT_NODE__WORKERS".to_owned(), "4096".to_owned()),
            ("CATCHMENT_KAFAK__BROKERS".to_owned(), "a:1".to_owned()),
        ],
        set: vec!["kafak.brokers=a:1".to_owned(), "udp.gro=maybe".to_owned()],
        ..Sources::default()
    });
    let text = error.expect_err("problems").to_string();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "environment variable CATCHMENT_NODE__WORKERS: node.workers: \"4096\": must be from 1 to 1024",
            "--set kafak.brokers: kafak.brokers: unknown key; did you mean `kafka.brokers`?",
            "--set udp.gro: udp.gro: expected on or off, found \"maybe\"",
        ]
    );
}

#[test]
fn settings_that_contradict_each_other() {
    for (arguments, problem) in [
        (&["output=kafka"][..], "--set output: kafka.brokers: output is kafka, but no broker is named"),
        (&["output=file"], "file.path: output is file, but no path is given"),
        (
            &["kafka.drops_topic=catchment.flows"],
            "--set kafka.drops_topic: kafka.drops_topic: catchment.flows is the topic of kafka.topic too",
        ),
        (&["kafka.acks=1", "kafka.idempotence=on"], "kafka.idempotence: needs kafka.acks: all, which is 1"),
        (
            &["kafka.compression=snappy", "kafka.compression_level=3"],
            "kafka.compression snappy has no levels",
        ),
        (&["kafka.compression_level=13"], "lz4 has levels from 0 to 12, found 13"),
        (&["node.http=127.0.0.1:80", "node.grpc=127.0.0.1:80"], "node.grpc: the same address as node.http"),
        (
            &["listeners=[::]:1,[::]:1"],
            "--set listeners: sources.flow.listeners[1].address: [::]:1 is listened on twice",
        ),
        (
            &["listeners=[::]:1", "sources.flow.listeners=[::]:2"],
            "listeners: set together with sources.flow.listeners",
        ),
        (
            &["batch.bytes=2MiB", "kafka.brokers=a:1", "kafka.properties.message.max.bytes=1048576"],
            "batch.bytes: a batch of 2MiB is more than kafka.properties.message.max.bytes (1MiB)",
        ),
        (
            &["batch.bytes=1MiB", "kafka.brokers=a:1", "kafka.queue_bytes=3MiB", "kafka.producers=4"],
            "--set kafka.queue_bytes: kafka.queue_bytes: 3MiB for 4 producers is less than a batch (1MiB) for each",
        ),
        (
            &["kafka.sasl.mechanism=plain", "kafka.sasl.username=u"],
            "kafka.sasl.password: PLAIN needs a password",
        ),
        (&["kafka.sasl.username=u"], "kafka.sasl.mechanism: a user or password is set, but no mechanism"),
        (
            &["kafka.tls.ca_file=/etc/ca.pem"],
            "kafka.tls.ca_file: has no effect while kafka.tls.enabled is off",
        ),
        (&["kafka.tls.enabled=on", "kafka.tls.cert_file=/"], "kafka.tls.cert_file: cannot read /"),
        (
            &["kafka.properties.bootstrap.servers=a:1"],
            "kafka.properties.bootstrap.servers: is set by kafka.brokers",
        ),
        (&["kafka.properties.linger.ms=soon"], "kafka.properties.linger.ms: librdkafka: "),
        (&["spool.compression=gzip"], "spool.compression: the spool compresses with none, lz4 or zstd"),
    ] {
        let problems = problems_of(arguments);
        assert!(problems.iter().any(|found| found.contains(problem)), "{arguments:?}: {problems:?}");
    }
}

#[test]
fn a_wrong_value_is_not_reported_again_as_missing() {
    assert_eq!(problems_of(&["output=kafka", "kafka.brokers=kafka"]).len(), 1);
}

#[test]
fn acks_below_all_turn_idempotence_off_unless_it_was_asked_for() {
    assert!(!load_set(&["kafka.acks=1"]).expect("right").config.kafka.idempotence);
}

#[test]
fn both_forms_of_listeners() {
    let file = ConfigFile::new(concat!(
        "sources:\n  flow:\n    listeners:\n    - '127.0.0.1:2055'\n",
        "    - address: '[::1]:4739'\n      zone: red\n      receive_buffer: 1MiB\n      allow: [10.0.0.0/8, '2001:db8::/32']\n",
    ));
    let listeners = file.load().expect("right").config.sources.flow.listeners;
    assert_eq!(listeners.len(), 2);
    assert_eq!(listeners[1].zone.as_ref().map(Label::as_str), Some("red"));
    assert!(listeners[1].allow[0].contains("10.1.2.3".parse().expect("an address")));
    let short = load_set(&["listeners=127.0.0.1:0, [::1]:0"]).expect("right");
    assert_eq!(short.config.sources.flow.listeners.len(), 2);
    assert_eq!(short.origins["sources.flow.listeners"].to_string(), "--set listeners");

    let wrong =
        ConfigFile::new("sources:\n  flow:\n    listeners:\n    - zone: red\n      adress: x\n").problems();
    assert_eq!(
        wrong,
        [
            "node.yaml:4:7: sources.flow.listeners[0].address: a listener needs an address",
            "node.yaml:5:7: sources.flow.listeners[0].adress: unknown key; did you mean `sources.flow.listeners[].address`?",
        ]
    );
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let secret = ConfigFile::new("hunter2\n");
    let set = |key: &str| format!("{key}={}", secret.path.display());
    let arguments =
        ["kafka.sasl.mechanism=scram-sha-512", "kafka.sasl.username=u", &set("kafka.sasl.password_file")];
    let loaded = load_set(&arguments).expect("right");
    assert_eq!(loaded.config.kafka.sasl.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(load_set(&arguments).expect("right").to_yaml().contains("password: \"\"\n"));

    let direct =
        load_set(&["kafka.sasl.mechanism=plain", "kafka.sasl.username=u", "kafka.sasl.password=hunter2"]);
    let direct = direct.expect("right");
    assert!(direct.to_yaml().contains("password: \"***\"  # --set kafka.sasl.password"));
    assert!(!direct.to_yaml().contains("hunter2"));
    assert_eq!(direct.warnings.len(), 1, "PLAIN without TLS: {:?}", direct.warnings);
    assert!(problems_of(&["kafka.sasl.password=***"])[0].contains("print-config shows"));
    let both = problems_of(&["kafka.sasl.password=x", &set("kafka.sasl.password_file")]);
    assert!(both.iter().any(|problem| problem.contains("set together with kafka.sasl.password")), "{both:?}");
}

#[test]
fn parts_of_later_releases_are_accepted_with_a_warning() {
    let loaded =
        load_set(&["spool.dir=/var/spool/catchment", "spool.bytes=1GiB", "node.grpc=127.0.0.1:7401"]);
    let warnings: Vec<String> = loaded.expect("right").warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("--set spool.dir: spool.dir: has no effect: this release has no spool"));
    assert_eq!(
        load_set(&["spool.dir=", "coordinator.endpoints=http://c:7400", "state.dir=/tmp"])
            .expect("right")
            .warnings,
        []
    );
}

#[test]
fn unreadable_files_are_another_status() {
    let missing =
        Config::load(&Sources { file: Some("/nonexistent/node.yaml".into()), ..Sources::default() });
    let missing = missing.expect_err("no such file");
    assert_eq!(missing.exit_code(), 66);
    assert!(missing.to_string().starts_with("/nonexistent/node.yaml: cannot read the configuration file: "));
    let latin = ConfigFile::new(b"node:\n  id: caf\xe9\n");
    assert_eq!(latin.problems(), ["node.yaml:2:10: not UTF-8"]);
    assert_eq!(latin.load().expect_err("not UTF-8").exit_code(), 64);
}

/// `print-config`'s text loads as the same configuration.
fn assert_prints_itself(loaded: &Loaded) {
    let yaml = loaded.to_yaml();
    let again = ConfigFile::new(&yaml).load().unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(again.config, loaded.config, "{yaml}");
}

#[test]
fn print_config_is_a_configuration() {
    assert_prints_itself(&Config::load(&Sources::default()).expect("the defaults"));
    let loaded = load_set(&[
        "kafka.brokers=a:1,[::1]:2",
        "kafka.properties.linger.ms=5",
        "kafka.properties.client.id=a \"b\" # c: é\\",
        "listeners=127.0.0.1:1",
        "udp.gro=off",
        "node.id=null",
    ])
    .expect("right");
    assert_prints_itself(&loaded);
    let yaml = loaded.to_yaml();
    for line in [
        "  brokers: [\"a:1\", \"[::1]:2\"]  # --set kafka.brokers\n",
        "  gro: off  # --set udp.gro\n",
        "output: kafka  # worked out by the node\n",
        "    listeners:  # --set listeners\n      - address: \"127.0.0.1:1\"\n        zone: \"\"\n",
        "  properties:\n    client.id: \"a \\\"b\\\" # c: é\\\\\"  # --set kafka.properties.client.id\n",
    ] {
        assert!(yaml.contains(line), "no {line:?} in\n{yaml}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_survives_printing(text in "[^,]{1,20}") {
        let loaded = load_set(&[&format!("file.path={text}"), "output=file"]);
        // Some texts are no path (blanks only); the others come back as they were.
        if let Ok(loaded) = loaded {
            assert_prints_itself(&loaded);
        }
    }

    #[test]
    fn any_file_is_read_or_refused(text in "((node|kafka|listeners|topic|- |  |: |\n|\\[|\\]|\\{|\\}|1s|\"|#|é){0,30})") {
        let _ = ConfigFile::new(&text).load();
    }
}

/// docs/field-maps: what users begin with.
#[test]
fn shipped_field_maps_load_without_a_word() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/field-maps");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("docs/field-maps") {
        let path = entry.expect("an entry").path();
        let loaded = Config::load(&Sources { file: Some(path.clone()), ..Sources::default() });
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{}: {:?}", path.display(), loaded.warnings);
        let fields: usize = loaded.config.exporter.overrides.iter().map(|known| known.fields.len()).sum();
        assert!(fields > 0, "{}", path.display());
        names.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
    }
    names.sort();
    let want = ["cisco-asa-nsel", "cisco-avc", "citrix", "juniper", "nprobe", "palo-alto", "vmware-nsx"];
    assert_eq!(names, want);
}
