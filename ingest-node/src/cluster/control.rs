//! The `Control` stream of a session: heartbeats and reports up, commands down.

use std::sync::Arc;
use std::time::Duration;

use catchment_proto::cluster::v1::{
    Command, ControlRequest, ControlResponse, Goodbye, SequenceReport, Welcome, control_request,
    control_response,
};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until};
use tonic::Streaming;

use super::commands;
use super::counters::add;
use super::member::{Loads, Member};
use super::sequences::Reports;
use super::session::End;

/// How often sequences are reported.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// What a coordinator may ask for; what it asks for otherwise is taken as the nearest of it.
const HEARTBEATS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// Commands that wait until the node is open.
const WAITING: usize = 64;

/// The stream.
pub(super) struct Control<'s> {
    member: &'s Arc<Member>,
    outbound: mpsc::Sender<ControlRequest>,
    reports: &'s mut Reports,
    heartbeat: Duration,
    lease: Duration,
    loads: Loads,
    waiting: Vec<Command>,
}

impl<'s> Control<'s> {
    pub(super) fn new(
        member: &'s Arc<Member>,
        welcome: &Welcome,
        outbound: mpsc::Sender<ControlRequest>,
        reports: &'s mut Reports,
    ) -> Self {
        let millis = |millis: u32| Duration::from_millis(u64::from(millis));
        let heartbeat = millis(welcome.heartbeat_interval_ms).clamp(HEARTBEATS.0, HEARTBEATS.1);
        let lease = millis(welcome.lease_ttl_ms).max(2 * heartbeat);
        Self { member, outbound, reports, heartbeat, lease, loads: Loads::default(), waiting: Vec::new() }
    }

    /// Runs until the session is over.
    pub(super) async fn run(mut self, mut inbound: Streaming<ControlResponse>) -> End {
        match self.serve(&mut inbound).await {
            Ok(reason) => self.leave(&mut inbound, reason).await,
            Err(end) => end,
        }
    }

    /// Serves until there is a reason to leave, or to end.
    async fn serve(&mut self, inbound: &mut Streaming<ControlResponse>) -> Result<String, End> {
        let mut heartbeats = interval(self.heartbeat);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reports = interval_at(Instant::now() + REPORT_EVERY, REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leaving = self.member.leaving();
        let mut attached = self.member.attached();
        let mut open = *attached.borrow();
        let mut heard = Instant::now();
        self.report_again()?;
        loop {
            tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        if self.take(message)? {
                            heard = Instant::now();
                        }
                    }
                    Ok(None) => return Err(End::lost("the coordinator has ended the session")),
                    Err(status) => return Err(End::of(&status)),
                },
                _ = heartbeats.tick() => {
                    let beat = self.member.heartbeat(&mut self.loads);
                    self.send(control_request::Message::Heartbeat(beat))?;
                }
                _ = reports.tick() => self.report()?,
                () = sleep_until(heard + self.lease) => {
                    let silent = self.lease.as_secs_f64();
                    return Err(End::Lost(format!("no heartbeat was acknowledged for {silent} s")));
                }
                reason = leaving.wait_for(Option::is_some) => {
                    // The sender is in `member`.
                    return Ok(reason.ok().and_then(|reason| reason.clone()).unwrap_or_default());
                }
                // Once the node is open: its first state at once, and what was asked meanwhile.
                _ = attached.wait_for(|attached| *attached), if !open => {
                    open = true;
                    heartbeats.reset_immediately();
                    for command in std::mem::take(&mut self.waiting) {
                        self.carry_out(command)?;
                    }
                }
            }
        }
    }

    /// Reports what has not been reported, says goodbye, and waits until the coordinator has ended the stream.
    async fn leave(mut self, inbound: &mut Streaming<ControlResponse>, reason: String) -> End {
        let mut last: Vec<_> = self.gather().into_iter().map(control_request::Message::Sequences).collect();
        last.push(control_request::Message::Goodbye(Goodbye { reason }));
        for message in last {
            // An error means that the session is over already.
            let _ = self.outbound.send(ControlRequest { message: Some(message) }).await;
        }
        drop(self.outbound);
        while let Ok(Some(_)) = inbound.message().await {}
        End::Left
    }

    /// Says whether it was the answer to a heartbeat.
    fn take(&mut self, message: ControlResponse) -> Result<bool, End> {
        match message.message {
            Some(control_response::Message::HeartbeatAck(_)) => return Ok(true),
            Some(control_response::Message::Command(command)) => self.carry_out(command)?,
            Some(control_response::Message::SequenceAck(ack)) => self.reports.acknowledged(ack.number),
            Some(control_response::Message::Welcome(_)) => return Err(End::lost("a second welcome")),
            // From a later release.
            None => {}
        }
        Ok(false)
    }

    fn carry_out(&mut self, command: Command) -> Result<(), End> {
        let (counters, id) = (&self.member.counters, command.id);
        let done = |command| self.member.steer(|node, in_force| commands::carry_out(node, in_force, command));
        let Some(result) = done(command.clone()) else {
            if self.waiting.len() == WAITING {
                return Err(End::lost("too many commands came before the node was open"));
            }
            self.waiting.push(command);
            return Ok(());
        };
        add(&counters.commands, 1);
        if !result.error.is_empty() {
            add(&counters.commands_refused, 1);
            tracing::warn!(command = id, reason = result.error, "a command of the cluster is refused");
        }
        self.send(control_request::Message::CommandResult(result))
    }

    /// Sends what earlier sessions did not get acknowledged.
    fn report_again(&self) -> Result<(), End> {
        self.reports
            .unacknowledged()
            .try_for_each(|report| self.send(control_request::Message::Sequences(report)))
    }

    fn report(&mut self) -> Result<(), End> {
        let mut reports = self.gather().into_iter();
        reports.try_for_each(|report| self.send(control_request::Message::Sequences(report)))
    }

    /// Reports of what has come since the last ones.
    fn gather(&mut self) -> Vec<SequenceReport> {
        let Some(source) = self.member.sequences() else { return Vec::new() };
        let count = self.reports.gather(source, &self.member.counters.reports_given_up);
        self.reports.latest(count).collect()
    }

    fn send(&self, message: control_request::Message) -> Result<(), End> {
        self.outbound.try_send(ControlRequest { message: Some(message) }).map_err(|error| match error {
            TrySendError::Full(_) => End::lost("the coordinator does not read what it is sent"),
            TrySendError::Closed(_) => End::lost("the connection is closed"),
        })
    }
}
