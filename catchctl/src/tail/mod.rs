//! `tail`: records as nodes decode them, merged, until Ctrl-C, the limit, or the end of whoever reads them.
//!
//! ```text
//!  ListNodes --> node-1: Tail ---\
//!                node-2: Tail ----> a queue of few answers --> JSON lines or columns --> standard output
//!                node-3: Tail ---/
//! ```
//!
//! A slow reader stops this program from taking answers, the stream's window fills, and the node counts what it lost: it says
//! so with the next answer. A node that goes away is tried again, for as long as another one is there or had been.

mod columns;

use std::io::Write as _;
use std::time::Duration;

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::json::ToJson as _;
use catchment_proto::node::v1::{TailRequest, TailResponse};
use tokio::sync::mpsc;

use crate::cli::TailArgs;
use crate::client::{self, Client};
use crate::command::{Session, known};
use crate::fault::Fault;
use crate::output::{self, Document, Format};
use crate::target::Target;

/// Answers that wait to be written; what nodes send beyond waits in the connection, then is lost at the node and counted.
const QUEUE: usize = 64;
/// Waits between two tries of a node that went away.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What becomes of a node's stream.
#[derive(Debug)]
enum Event {
    /// Records, or a loss.
    Answer(String, TailResponse),
    /// The node refuses, or has been asked in vain for the first time.
    Failed(String, Fault),
}

pub(crate) async fn run(session: &mut Session, arguments: &TailArgs) -> Result<(), Fault> {
    let form = Form::of(session.output.format)?;
    let mut targets = targets(session, &arguments.node).await?;
    if targets.is_empty() {
        return Err(Fault::Unreachable(
            "no node has a session with a coordinator: nothing to tail".to_owned(),
        ));
    }
    let asked = request(arguments);
    let (sender, mut events) = mpsc::channel(QUEUE);
    let mut streams = tokio::task::JoinSet::new();
    let mut left = targets.len();
    for (name, target) in targets.drain(..) {
        let node = NodeTail { name, target, asked: asked.clone(), timeout: session.timeout };
        streams.spawn_local(node.run(sender.clone()));
    }
    drop(sender);
    let mut printer = Printer { form, left: arguments.limit, headed: false };
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let event = tokio::select! {
            _ = &mut interrupted => return Ok(()),
            event = events.recv() => event,
        };
        match event {
            // All streams have come to their end: each node has sent as many as it was asked for.
            None => return Ok(()),
            Some(Event::Answer(name, answer)) => {
                if answer.lost > 0 {
                    output::note(&format!(
                        "{name}: lost {} records: they came faster than they were read",
                        answer.lost
                    ));
                }
                if answer.unseen > 0 {
                    output::note(&format!(
                        "{name}: did not look at {} records: there were more than it spends time on for readers",
                        answer.unseen
                    ));
                }
                if printer.print(&answer.records)? {
                    return Ok(());
                }
            }
            Some(Event::Failed(name, fault)) => {
                left -= 1;
                if left == 0 {
                    return Err(fault.of(&name));
                }
                output::note(&format!("{name}: {fault}"));
            }
        }
    }
}

fn request(arguments: &TailArgs) -> TailRequest {
    TailRequest {
        exporter: arguments.exporter.map(|address| address.to_string()).unwrap_or_default(),
        prefix: arguments.prefix.clone().unwrap_or_default(),
        port: arguments.port.unwrap_or(0).into(),
        protocol: arguments.protocol,
        template: arguments.template.unwrap_or(0),
        zone: arguments.zone.clone(),
        limit: arguments.limit.unwrap_or(0),
    }
}

/// The nodes that are there, by their names.
async fn targets(session: &mut Session, wanted: &[String]) -> Result<Vec<(String, Target)>, Fault> {
    if session.client.is_node() {
        session.no_name(wanted.first().map(String::as_str))?;
        return Ok(vec![(session.client.endpoint(), session.target.clone())]);
    }
    let nodes = session.nodes().await?;
    for name in wanted {
        known(name, &nodes)?;
        if nodes.iter().any(|node| node.id == *name && node.coordinator.is_empty()) {
            return Err(Fault::Unreachable(format!("{name}: no coordinator has a session with it")));
        }
    }
    let chosen = nodes
        .into_iter()
        .filter(|node| !node.coordinator.is_empty() && (wanted.is_empty() || wanted.contains(&node.id)));
    chosen
        .map(|node| match session.target.node(&node.grpc_address) {
            Ok(target) => Ok((node.id, target)),
            Err(fault) => Err(Fault::Refused(format!("{}: {fault}", node.id))),
        })
        .collect()
}

/// One node's stream.
struct NodeTail {
    name: String,
    target: Target,
    asked: TailRequest,
    timeout: Duration,
}

impl NodeTail {
    async fn run(self, events: mpsc::Sender<Event>) {
        let mut wait = FIRST_WAIT;
        let mut has_been_there = false;
        loop {
            let mut client = Client::new(&self.target, self.timeout);
            match self.stream(&mut client, &events, &mut has_been_there).await {
                Ok(()) => return,
                Err(fault @ Fault::Unreachable(_)) if has_been_there => {
                    if wait == FIRST_WAIT {
                        output::note(&format!("{}: {fault}; trying again", self.name));
                    }
                }
                Err(fault) => {
                    // Nobody listens any more where it cannot be sent.
                    _ = events.send(Event::Failed(self.name, fault)).await;
                    return;
                }
            }
            if events.is_closed() {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Takes answers until the node ends the stream, which it does where it was asked for a number of records.
    async fn stream(
        &self,
        client: &mut Client,
        events: &mpsc::Sender<Event>,
        has_been_there: &mut bool,
    ) -> Result<(), Fault> {
        let mut answers = client.tail(&self.asked).await?;
        let whom = client.endpoint();
        *has_been_there = true;
        loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    if events.send(Event::Answer(self.name.clone(), answer)).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) if self.asked.limit > 0 => return Ok(()),
                Ok(None) => return Err(Fault::Unreachable(format!("{whom}: the node has ended the stream"))),
                Err(status) => return Err(client::broken(&status, &whom)),
            }
        }
    }
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    JsonLines,
    Yaml,
    Columns,
}

impl Form {
    fn of(format: Option<Format>) -> Result<Self, Fault> {
        match format {
            None | Some(Format::Json) => Ok(Form::JsonLines),
            Some(Format::Table) => Ok(Form::Columns),
            Some(Format::Yaml) => Ok(Form::Yaml),
            Some(Format::Prom) => {
                Err(Fault::Usage("-o prom is for `health` only: use json, yaml or table".to_owned()))
            }
        }
    }
}

struct Printer {
    form: Form,
    /// Records still wanted.
    left: Option<u64>,
    headed: bool,
}

impl Printer {
    /// Writes records; true where no more are wanted.
    fn print(&mut self, records: &[FlowRecord]) -> Result<bool, Fault> {
        let wanted = self
            .left
            .map_or(records.len(), |left| records.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        let mut text = Vec::new();
        for record in &records[..wanted] {
            match self.form {
                Form::JsonLines => {
                    record.write_json(&mut text);
                    text.push(b'\n');
                }
                Form::Yaml => {
                    // A document each, so that a reader has each as it comes.
                    text.extend_from_slice(b"---\n");
                    text.extend_from_slice(
                        output::yaml_text(&Document::of_json(&record.to_json())).as_bytes(),
                    );
                }
                Form::Columns => {
                    if !std::mem::replace(&mut self.headed, true) {
                        text.extend_from_slice(columns::head().as_bytes());
                    }
                    text.extend_from_slice(columns::line(record).as_bytes());
                }
            }
        }
        let mut out = std::io::stdout().lock();
        out.write_all(&text)?;
        out.flush()?;
        if let Some(left) = &mut self.left {
            *left -= wanted as u64;
        }
        Ok(self.left == Some(0))
    }
}
