//! The `Control` stream of a session: one task from welcome to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catchment_proto::cluster::v1::{
    Command, CommandResult, ControlRequest, ControlResponse, HeartbeatAck, SequenceAck, Welcome, command,
    control_request, control_response,
};
use catchment_sequence::Departure;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tracing::{info, warn};

use super::Sessions;
use super::counters::count;
use super::hello::not_registered;
use super::live::{Answer, Ask, End, Order, Session};
use crate::Registration;

/// Messages that may wait for a node to read them.
const OUTBOUND: usize = 64;

/// Commands of a session that may be without an answer; the oldest is given up for another.
const COMMANDS: usize = 64;

/// What a node is sent.
pub(super) type ControlStream = ReceiverStream<Result<ControlResponse, Status>>;

impl Sessions {
    /// Begins a session, or says why not.
    pub(super) async fn begin(
        &self,
        mut inbound: Streaming<ControlRequest>,
        peer: &str,
    ) -> Result<ControlStream, Status> {
        let counters = &self.inner.counters;
        let hello = self.hello(&mut inbound).await?;
        let (node, incarnation) = (hello.node_id.clone(), hello.incarnation);
        let registered = match self.admit(&hello) {
            Ok(()) => {
                let registered = self.inner.store.register(hello.clone()).await;
                registered.map_err(|error| not_registered(&hello, error))
            }
            Err(refused) => Err(refused),
        };
        let registration = registered.inspect_err(|status| {
            let unavailable = status.code() == Code::Unavailable;
            count(if unavailable { &counters.unavailable } else { &counters.refused });
            warn!(node, incarnation, peer, reason = status.message(), "session refused");
        })?;
        self.give_up_drain(&hello).await;
        let (session, orders) = Session::new(registration.session_id(), hello);
        let (outbound, stream) = mpsc::channel(OUTBOUND);
        // In before the welcome is made: what people change from now on is pushed.
        let (desired, config) = (self.desired(&node), self.config());
        session.welcomed(&desired, &config);
        self.insert(&session);
        self.inner.sequences.began(&node, incarnation);
        let welcome = Welcome {
            session_id: session.id().to_owned(),
            coordinator_id: self.inner.store.options().coordinator.clone(),
            heartbeat_interval_ms: millis(self.inner.options.heartbeat),
            lease_ttl_ms: millis(self.inner.options.ttl),
            desired: Some(desired),
            config: Some(config),
        };
        let _ = outbound.try_send(Ok(response(control_response::Message::Welcome(welcome))));
        count(&counters.begun);
        info!(
            node,
            incarnation,
            peer,
            version = session.hello().version,
            session = session.id(),
            "session begun"
        );
        // Changed before it was in: the task for all sessions may have looked too early.
        session.push(self.desired(&node), &self.config());
        let task =
            Control { sessions: self.clone(), session, outbound, commands: HashMap::new(), next_command: 1 };
        tokio::spawn(task.run(inbound, orders, registration));
        Ok(ReceiverStream::new(stream))
    }

    /// A drain was meant for one start of the node: a later one is there to work.
    async fn give_up_drain(&self, hello: &catchment_proto::cluster::v1::Hello) {
        let desired = self.desired(&hello.node_id);
        if !desired.drain || desired.drain_incarnation == hello.incarnation {
            return;
        }
        let incarnation = hello.incarnation;
        let changed = self.inner.store.change_desired(&hello.node_id, |desired| {
            if desired.drain && desired.drain_incarnation != incarnation {
                desired.drain = false;
                desired.drain_incarnation = 0;
            }
        });
        match changed.await {
            Ok(_) => {
                info!(node = hello.node_id, incarnation, "drain given up: it was meant for an earlier start");
            }
            // The node compares the incarnation too.
            Err(error) => {
                warn!(node = hello.node_id, %error, "drain of an earlier start could not be given up");
            }
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn response(message: control_response::Message) -> ControlResponse {
    ControlResponse { message: Some(message) }
}

/// A command that was sent.
struct Sent {
    ask: Ask,
    answer: Option<oneshot::Sender<Answer>>,
    at: Instant,
}

struct Control {
    sessions: Sessions,
    session: Arc<Session>,
    outbound: mpsc::Sender<Result<ControlResponse, Status>>,
    commands: HashMap<u64, Sent>,
    next_command: u64,
}

impl Control {
    async fn run(
        mut self,
        mut inbound: Streaming<ControlRequest>,
        mut orders: mpsc::Receiver<Order>,
        registration: Registration,
    ) {
        let end = self.last(&mut inbound, &mut orders, &registration).await;
        self.finish(end);
        // The registry forgets the node, unless a later session has its place.
        drop(registration);
    }

    /// Serves until there is a reason to end.
    async fn last(
        &mut self,
        inbound: &mut Streaming<ControlRequest>,
        orders: &mut mpsc::Receiver<Order>,
        registration: &Registration,
    ) -> End {
        let mut ended = self.session.ended();
        let superseded = registration.superseded();
        tokio::pin!(superseded);
        loop {
            tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        self.session.heard();
                        if let Err(end) = self.take(message) {
                            return end;
                        }
                    }
                    Ok(None) => return End::Broken("the node closed the stream without a goodbye".into()),
                    Err(status) => return End::Broken(status.message().to_owned()),
                },
                Some(order) = orders.recv() => if let Err(end) = self.carry_out(order) {
                    return end;
                },
                () = &mut superseded => return End::Superseded,
                end = ended.wait_for(Option::is_some) => {
                    return end.ok().and_then(|end| end.clone()).unwrap_or(End::Stopping);
                }
            }
        }
    }

    fn take(&mut self, message: ControlRequest) -> Result<(), End> {
        use control_request::Message;
        let counters = &self.sessions.inner.counters;
        match message.message {
            Some(Message::Heartbeat(heartbeat)) => {
                count(&counters.heartbeats);
                let ack = HeartbeatAck { time_ns: heartbeat.time_ns };
                if self.session.beat(heartbeat) {
                    self.sessions.moved();
                }
                self.send(control_response::Message::HeartbeatAck(ack))
            }
            Some(Message::CommandResult(result)) => {
                self.answered(result);
                Ok(())
            }
            Some(Message::Sequences(report)) => {
                self.sessions.inner.sequences.take(&self.session, report);
                Ok(())
            }
            Some(Message::Goodbye(goodbye)) => Err(End::Goodbye(goodbye.reason)),
            Some(Message::Hello(_)) => Err(End::Fault("a second hello".into())),
            // From a later release.
            None => Ok(()),
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<(), End> {
        let (ask, answer) = match order {
            Order::Ask(ask, answer) => (ask, answer),
            Order::SequencesTaken(number) => {
                return self.send(control_response::Message::SequenceAck(SequenceAck { number }));
            }
        };
        let id = self.next_command;
        self.next_command += 1;
        let body = match ask.clone() {
            Ask::SetDesired(desired) => command::Command::SetDesired(desired),
            Ask::SetConfig(config) => command::Command::SetConfig(config),
            Ask::CheckConfig(config) => command::Command::CheckConfig(config),
        };
        if self.commands.len() == COMMANDS
            && let Some(oldest) = self.commands.iter().min_by_key(|(_, sent)| sent.at).map(|(id, _)| *id)
        {
            self.commands.remove(&oldest);
            count(&self.sessions.inner.counters.commands_unanswered);
        }
        self.commands.insert(id, Sent { ask, answer, at: Instant::now() });
        count(&self.sessions.inner.counters.commands);
        self.send(control_response::Message::Command(Command { id, command: Some(body) }))
    }

    fn answered(&mut self, result: CommandResult) {
        let Some(sent) = self.commands.remove(&result.id) else { return };
        let answer = if result.error.is_empty() { Ok(()) } else { Err(result.error) };
        if let Err(reason) = &answer {
            count(&self.sessions.inner.counters.commands_refused);
            warn!(node = self.session.node(), command = what(&sent.ask), reason, "command refused");
        }
        self.session.took_over(&sent.ask, &answer);
        self.sessions.moved();
        if let Some(waits) = sent.answer {
            let _ = waits.send(answer);
        }
    }

    fn send(&self, message: control_response::Message) -> Result<(), End> {
        self.outbound.try_send(Ok(response(message))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => End::Fault("it does not read what it is sent".into()),
            mpsc::error::TrySendError::Closed(_) => End::Broken("the connection was closed".into()),
        })
    }

    fn finish(self, end: End) {
        let Self { sessions, session, outbound, commands, .. } = self;
        let counters = &sessions.inner.counters;
        let (node, incarnation) = (session.node(), session.hello().incarnation);
        let (counter, status) = match &end {
            End::Goodbye(_) => (&counters.ended_goodbye, None),
            End::Broken(_) => (&counters.ended_broken, None),
            End::Silent(silent) => {
                let text = format!("nothing was heard of node `{node}` for {:.1} s", silent.as_secs_f64());
                (&counters.ended_silent, Some(Status::deadline_exceeded(text)))
            }
            End::Superseded => {
                let text =
                    format!("node `{node}` has a later session than this one of incarnation {incarnation}");
                (&counters.ended_superseded, Some(Status::already_exists(text)))
            }
            End::Stopping => {
                let replica = &sessions.inner.store.options().coordinator;
                let text = format!("coordinator `{replica}` is stopping: go to another one");
                (&counters.ended_stopping, Some(Status::unavailable(text)))
            }
            End::Fault(why) => {
                let text = format!("node `{node}`: {why}");
                (&counters.ended_fault, Some(Status::failed_precondition(text)))
            }
        };
        count(counter);
        super::counters::add(&counters.commands_unanswered, commands.len() as u64);
        let lost = matches!(end, End::Broken(_) | End::Silent(_) | End::Fault(_));
        if lost {
            warn!(node, incarnation, session = session.id(), reason = ?end, "session lost");
        } else {
            info!(node, incarnation, session = session.id(), reason = ?end, "session ended");
        }
        if let Some(status) = status {
            let _ = outbound.try_send(Err(status));
        }
        sessions.remove(&session);
        match end {
            End::Goodbye(_) => sessions.inner.sequences.departed(node, incarnation, Departure::Goodbye),
            End::Broken(_) | End::Silent(_) | End::Fault(_) => {
                sessions.inner.sequences.departed(node, incarnation, Departure::Lost);
            }
            // It is with another replica, or will be.
            End::Superseded | End::Stopping => {}
        }
        // Those of the shared state end too.
        session.end(end);
    }
}

fn what(ask: &Ask) -> &'static str {
    match ask {
        Ask::SetDesired(_) => "set_desired",
        Ask::SetConfig(_) => "set_config",
        Ask::CheckConfig(_) => "check_config",
    }
}
