//! Decodes flow export datagrams (NetFlow v1, v5, v7, v9, IPFIX, sFlow v5) into protobuf records.
//!
//! Pure: no I/O, no clock, no threads. What a datagram means depends on what its exporter said before (templates,
//! options), and that state is the node's: an [`ExporterStore`] is shared by all decoders of a node, each of which reads
//! snapshots of it and takes no lock for a datagram that teaches nothing new.
//!
//! ```text
//! payload -> Protocol::detect -> netflow_v5 | netflow_v9 | ipfix | sflow
//!                                   sets -> template -> plan (compiled once) -> run -> RecordBuffer -> Sink
//! ```
//!
//! Promises: any input decodes without panic, endless loop or allocation sized by an unchecked number; one bad set costs
//! that set; everything is counted in [`Statistics`], whose sums hold after every datagram; in steady state a datagram is
//! decoded without allocating.

#![forbid(unsafe_code)]

mod changes;
mod clock;
pub mod cursor;
mod data_set;
pub mod datagram;
mod decoder;
mod definitions;
pub mod elements;
pub mod error;
mod exporter_store;
pub mod fuzzing;
mod held_message;
mod ipfix;
mod layouts;
mod listing;
mod lists_in_set;
mod names;
mod netflow_v5;
mod netflow_v9;
mod numbering;
mod options;
mod options_record;
mod order;
mod overrides;
pub mod packet;
mod pending;
mod plan;
pub mod protobuf;
pub mod protocol;
pub mod record;
mod record_field;
mod restart;
mod room;
mod scope;
mod sequences;
mod session;
mod session_table;
mod sets;
pub mod sflow;
mod shared_fields;
mod sharing;
pub mod sink;
pub mod statistics;
pub mod structured;
pub mod template;
mod template_record;

pub use datagram::{Datagram, DecoderOptions, ExporterName, Extent, NamesInRecords, ZoneId};
pub use decoder::{Decoder, Verdict};
pub use error::{Malformed, Reason};
pub use exporter_store::{ExporterStore, ScopeKey, StoreLimits};
pub use listing::{ExporterView, Heard, ScopeView, TemplateView};
pub use names::{NameKind, SharedName};
pub use options::{Learnt, SharedOptions};
pub use order::Order;
pub use overrides::{Destination, FieldRule, Otherwise, Override, Overrides, Sampling};
pub use pending::{PendingCounts, PendingLimits};
pub use plan::Plan;
pub use protobuf::{Delimiting, RecordBuffer};
pub use protocol::Protocol;
pub use record_field::{Mismatch, RecordField};
pub use sequences::{SFLOW_VERSION, SequenceKey};
pub use sharing::{Imported, Refused, Share, SharedDefinition, SharedScope};
pub use sink::{HeldOrigin, Sink, Stream, WireRecord, WireSample};
pub use statistics::Statistics;
