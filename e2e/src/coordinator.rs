//! A real `coordinator`, running or not. Its ports are known before it runs and stay the same, as behind a service name.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::http::{self, Answer};
use crate::metrics::Scrape;
use crate::process::{self, Process};
use crate::services::unused_port;
use crate::wait::until;

/// One replica.
#[derive(Debug)]
pub struct Coordinator {
    grpc: SocketAddr,
    http: SocketAddr,
    settings: Vec<String>,
    process: Option<Process>,
}

impl Coordinator {
    /// A replica with these settings (`key=value`) that has never run.
    ///
    /// # Errors
    /// Where no ports can be had.
    pub fn prepare(settings: &[String]) -> Result<Self> {
        let address = || Ok::<_, anyhow::Error>(SocketAddr::from(([127, 0, 0, 1], unused_port()?)));
        Ok(Self { grpc: address()?, http: address()?, settings: settings.to_vec(), process: None })
    }

    /// Starts it and waits until it serves HTTP; it need not be ready.
    ///
    /// # Errors
    /// Where it ends instead, with what it said.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the coordinator runs already");
        let mut command = process::command("coordinator")?;
        command.arg("run");
        let own = [
            format!("grpc={}", self.grpc),
            // The host's name may lead elsewhere.
            format!("advertise={}", self.grpc),
            format!("http={}", self.http),
            "log.format=json".to_owned(),
        ];
        for setting in own.iter().chain(&self.settings) {
            command.args(["--set", setting]);
        }
        let (http, process) = (self.http, self.process.insert(Process::start(command)?));
        until("the coordinator's HTTP port", || {
            if let Some(status) = process.status()? {
                bail!("the coordinator ended at once ({status}):\n{}", process.finished());
            }
            Ok(http::get(http, "/livez").map(drop).map_err(|error| format!("{error}\n{}", process.text())))
        })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// Where it is not in time.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_ready()
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// Where it does not in time, with its reasons.
    pub fn wait_ready(&self) -> Result<()> {
        until("the coordinator to be ready", || {
            let answer = self.get("/readyz")?;
            Ok(if answer.status == 200 { Ok(()) } else { Err(answer.body + &self.log()) })
        })
    }

    /// Where it serves gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Where it serves HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Its process id.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.running()?.pid())
    }

    /// What it wrote on standard error so far; nothing where it does not run.
    pub fn log(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::text)
    }

    /// Waits for a line on standard error that holds `text`.
    ///
    /// # Errors
    /// Where none comes in time.
    pub fn wait_log(&self, text: &str) -> Result<String> {
        self.running()?.wait_line(text)
    }

    /// Asks for a path over HTTP.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.http, path).with_context(|| format!("GET {path}: {}", self.log()))
    }

    /// `/metrics`.
    ///
    /// # Errors
    /// Where it does not answer in Prometheus' format.
    pub fn metrics(&self) -> Result<Scrape> {
        Scrape::parse(&self.get("/metrics")?.body)
    }

    /// Ends it without warning (SIGKILL); what it wrote.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn kill(&mut self) -> Result<String> {
        self.process.take().context("the coordinator does not run")?.kill()
    }

    /// Stops it as an operator would (SIGTERM); what it wrote.
    ///
    /// # Errors
    /// An exit status other than 0.
    pub fn stop(&mut self) -> Result<String> {
        let process = self.process.take().context("the coordinator does not run")?;
        process.signal(Signal::SIGTERM)?;
        let (status, log) = process.ended()?;
        ensure!(status.success(), "the coordinator ended with {status}:\n{log}");
        Ok(log)
    }

    /// True while it runs.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("the coordinator does not run")
    }
}
