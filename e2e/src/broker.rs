//! A Kafka of a test's own, for what one must not do to the Kafka that all tests share: stop it, start it again, and
//! open listeners with TLS and SASL.
//!
//! Its ports are known before it runs and stay the same, and so does what it holds. It does not outlive its [`Broker`];
//! where the test itself is killed, `dev/services` ends it, whose mark it inherits.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::services::{self, unused_port};
use crate::wait::until;

const ANSWER: Duration = Duration::from_secs(1);
/// The one user of the SASL listener.
pub const USER: &str = "collector";
/// The user's password.
pub const PASSWORD: &str = "open-sesame";

/// One broker, running or not.
#[derive(Debug)]
pub struct Broker {
    folder: TempDir,
    jars: PathBuf,
    certificates: Certificates,
    ports: Ports,
    child: Option<Child>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: u16,
    tls: u16,
    sasl: u16,
    controller: u16,
}

impl Broker {
    /// Makes a broker that has never run.
    ///
    /// # Errors
    /// Where Kafka cannot be fetched or formatted.
    pub fn prepare() -> Result<Self> {
        let folder = TempDir::new()?;
        let certificates = Certificates::make(folder.path())?;
        let ports = Ports {
            plain: unused_port()?,
            tls: unused_port()?,
            sasl: unused_port()?,
            controller: unused_port()?,
        };
        let broker = Self { jars: services::fetch("kafka")?, folder, certificates, ports, child: None };
        fs::write(broker.settings(), broker.properties())?;
        let mut format = broker.java("-Xmx64m", "kafka.tools.StorageTool");
        // A cluster's name is 16 octets in base 64.
        format.args(["format", "-t", "Y2F0Y2htZW50LWUyZS0wMQ", "-c"]).arg(broker.settings());
        let output = format.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        ensure!(output.status.success(), "kafka: {}", String::from_utf8_lossy(&output.stderr));
        Ok(broker)
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// Where it ends instead, with what it said.
    pub fn start(&mut self) -> Result<()> {
        let log = self.folder.path().join("output.log");
        let mut command = self.java("-Xmx512m", "kafka.Kafka");
        command
            .arg(self.settings())
            .stdout(fs::File::create(&log)?)
            .stderr(fs::File::options().append(true).open(&log)?);
        let child = self.child.insert(command.spawn().context("java does not start")?);
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{}", self.ports.plain))
            .create()?;
        until("the broker to answer", || {
            if let Some(status) = child.try_wait()? {
                bail!("the broker ended ({status}):\n{}", fs::read_to_string(&log)?);
            }
            Ok(client.fetch_metadata(None, ANSWER).map(drop).map_err(|error| error.to_string()))
        })
    }

    /// Stops it as an operator would (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn stop(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the broker does not run")?;
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        let ended = until("the broker to end", || Ok(child.try_wait()?.ok_or_else(|| "it runs".to_owned())));
        if ended.is_err() {
            child.kill()?;
            child.wait()?;
        }
        ended.map(drop)
    }

    /// The plain listener.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// The listener that demands a client's certificate.
    pub fn tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.tls)
    }

    /// The listener with TLS that demands [`USER`] and [`PASSWORD`].
    pub fn sasl_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// What a client needs for these two.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn java(&self, memory: &str, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args([memory, "-XX:-UsePerfData", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-cp").arg(self.jars.join("*")).arg(class);
        command.stdin(Stdio::null()).current_dir(self.folder.path());
        command
    }

    fn properties(&self) -> String {
        let Ports { plain, tls, sasl, controller } = self.ports;
        let (folder, certificates) = (self.folder.path().display(), &self.certificates);
        let (broker, authority) = (certificates.broker.display(), certificates.authority.display());
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl},\
             CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL\n\
             log.dirs={folder}/log\n\
             num.partitions=1\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             log.cleaner.dedupe.buffer.size=8388608\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={broker}\n\
             ssl.truststore.type=PEM\n\
             ssl.truststore.location={authority}\n\
             listener.name.ssl.ssl.client.auth=required\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n"
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
