//! `Tail`: one reader's stream.
//!
//! ```text
//! Subscription --chunk--> filter --records--> decode --try_send--> responses --> gRPC (as fast as the reader reads)
//! ```
//!
//! The control threads are few and share the CPUs with the workers, so all readers together get a fixed part of one CPU:
//! after each piece of work a stream rests as long as it takes to stay below its share. What comes meanwhile and does not
//! fit into the queue is counted as unseen. Records that pass and do not fit into the responses are counted as lost.

use std::time::{Duration, Instant};

use catchment_proto::flow::v1::FlowRecord;
use catchment_proto::node::v1;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::errors::{address, prefix, within};
use super::lists::zone_of;
use crate::flow::FlowSource;
use crate::tail::{Chunk, Filter, Subscription, Tails, Wanted};

/// Responses that wait for the reader.
const RESPONSES: usize = 4;
/// How often a reader is told of losses when no record comes.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How long the last response may take.
const LAST: Duration = Duration::from_secs(1);
/// The part of a CPU for all readers: one in this many.
const SHARE: u32 = 4;
/// Work after which a stream rests.
const WORK: Duration = Duration::from_millis(1);

/// What a reader gets.
pub(super) type Responses = ReceiverStream<Result<v1::TailResponse, Status>>;

/// Reads the conditions.
pub(super) fn read(request: &v1::TailRequest, flow: &FlowSource) -> Result<Filter, Status> {
    let zone = request.zone.as_deref().map(|label| zone_of(label, &flow.zones())).transpose()?;
    Ok(Filter {
        wanted: Wanted { exporter: address("exporter", &request.exporter)?, zone },
        prefix: prefix("prefix", &request.prefix)?,
        port: within("port", request.port, "65535")?,
        protocol: request.protocol.map(|protocol| within("protocol", protocol, "255")).transpose()?,
        template: within("template", request.template, "65535")?,
    })
}

/// Begins a stream.
pub(super) fn begin(
    tails: &std::sync::Arc<Tails>,
    filter: Filter,
    limit: u64,
    stopping: watch::Receiver<bool>,
) -> Result<Responses, Status> {
    let subscription =
        tails.subscribe(filter.wanted).map_err(|error| Status::resource_exhausted(error.to_string()))?;
    let (responses, stream) = mpsc::channel(RESPONSES);
    let left = if limit == 0 { u64::MAX } else { limit };
    let reader = Reader { subscription, filter, left, lost: 0, unseen: 0, responses };
    tokio::spawn(reader.run(stopping));
    Ok(ReceiverStream::new(stream))
}

struct Reader {
    subscription: Subscription,
    filter: Filter,
    /// Records until the limit.
    left: u64,
    lost: u64,
    unseen: u64,
    responses: mpsc::Sender<Result<v1::TailResponse, Status>>,
}

impl Reader {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut tell = tokio::time::interval(TELL_EVERY);
        while self.left > 0 {
            let began = tokio::select! {
                chunk = self.subscription.next() => {
                    let Some(chunk) = chunk else { break };
                    let began = Instant::now();
                    self.look(&chunk);
                    began
                }
                _ = tell.tick() => {
                    self.respond(Vec::new());
                    continue;
                }
                // An error means that the port is gone.
                _ = stopping.wait_for(|stopping| *stopping) => break,
                () = self.responses.closed() => return,
            };
            let worked = began.elapsed();
            let rest = worked * (SHARE * self.subscription.readers() as u32 - 1);
            if rest >= WORK {
                tokio::time::sleep(rest).await;
            }
        }
        self.unseen += self.subscription.take_unseen();
        if self.lost + self.unseen > 0 {
            let last = v1::TailResponse { records: Vec::new(), lost: self.lost, unseen: self.unseen };
            // A reader that does not take it has left.
            let _ = tokio::time::timeout(LAST, self.responses.send(Ok(last))).await;
        }
    }

    /// Filters a chunk, and decodes what passes where there is room for it.
    fn look(&mut self, chunk: &Chunk) {
        let passed = chunk.records().filter(|(mark, record)| self.filter.passes(mark, record));
        if self.responses.capacity() == 0 {
            let lost = passed.count() as u64;
            self.lost += lost;
            self.subscription.count(0, lost);
            return;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        // What the decoder wrote is a record: that it can be read is what its tests hold.
        let records: Vec<_> =
            passed.take(most).filter_map(|(_, record)| FlowRecord::decode(record).ok()).collect();
        if !records.is_empty() {
            self.respond(records);
        }
    }

    /// Sends records, and what was lost since the last response; nothing where there is neither.
    fn respond(&mut self, records: Vec<FlowRecord>) {
        self.unseen += self.subscription.take_unseen();
        let count = records.len() as u64;
        if count + self.lost + self.unseen == 0 {
            return;
        }
        let response = v1::TailResponse { records, lost: self.lost, unseen: self.unseen };
        match self.responses.try_send(Ok(response)) {
            Ok(()) => {
                (self.lost, self.unseen) = (0, 0);
                self.left -= count;
                self.subscription.count(count, 0);
            }
            Err(_) => {
                self.lost += count;
                self.subscription.count(0, count);
            }
        }
    }
}
