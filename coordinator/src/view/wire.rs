//! `SyncStateResponse` written from the bytes that the view holds, without encoding a scope again.
//!
//! ```text
//! SyncStateResponse   1 snapshot   2 delta   3 wanted   4 refused
//! SnapshotChunk       1 scopes     2 last    3 revision
//! Delta               1 scopes     2 removed 3 revision
//! ```

use catchment_proto::cluster::v1::{StateRevision, SyncStateResponse};
use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::scope::ScopeId;

const SNAPSHOT: u32 = 1;
const DELTA: u32 = 2;
const SCOPES: u32 = 1;
const LAST: u32 = 2;
const REMOVED: u32 = 2;
const REVISION: u32 = 3;

/// Octets of a key and a length, at most.
const OVERHEAD: usize = 16;

/// A `SyncStateResponse`, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedResponse(Bytes);

impl EncodedResponse {
    /// The bytes of the message.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The message.
    pub fn decode(&self) -> SyncStateResponse {
        // Written here from whole messages.
        SyncStateResponse::decode(self.0.clone()).unwrap_or_default()
    }
}

impl From<SyncStateResponse> for EncodedResponse {
    fn from(message: SyncStateResponse) -> Self {
        Self(message.encode_to_vec().into())
    }
}

/// A chunk or a delta while it is written.
#[derive(Debug, Default)]
pub(super) struct Part {
    inner: BytesMut,
    parts: usize,
}

impl Part {
    pub(super) fn is_empty(&self) -> bool {
        self.parts == 0
    }

    /// Whether a scope of `octets` may be added.
    pub(super) fn has_room(&self, octets: usize, limit: usize) -> bool {
        self.parts == 0 || self.inner.len() + octets + OVERHEAD <= limit
    }

    pub(super) fn scope(&mut self, content: &[u8]) {
        self.put(SCOPES, content);
    }

    pub(super) fn removed(&mut self, id: &ScopeId) {
        self.put(REMOVED, &id.to_message().encode_to_vec());
    }

    /// The chunk; with a revision it is the last one.
    pub(super) fn into_snapshot(mut self, revision: Option<&StateRevision>) -> EncodedResponse {
        if let Some(revision) = revision {
            encode_key(LAST, WireType::Varint, &mut self.inner);
            encode_varint(1, &mut self.inner);
            self.put(REVISION, &revision.encode_to_vec());
        }
        self.finish(SNAPSHOT)
    }

    pub(super) fn into_delta(mut self, revision: Option<&StateRevision>) -> EncodedResponse {
        if let Some(revision) = revision {
            self.put(REVISION, &revision.encode_to_vec());
        }
        self.finish(DELTA)
    }

    fn put(&mut self, field: u32, content: &[u8]) {
        self.parts += 1;
        self.inner.reserve(content.len() + OVERHEAD);
        encode_key(field, WireType::LengthDelimited, &mut self.inner);
        encode_varint(content.len() as u64, &mut self.inner);
        self.inner.put_slice(content);
    }

    fn finish(self, field: u32) -> EncodedResponse {
        let mut whole = BytesMut::with_capacity(self.inner.len() + OVERHEAD);
        encode_key(field, WireType::LengthDelimited, &mut whole);
        encode_varint(self.inner.len() as u64, &mut whole);
        whole.put_slice(&self.inner);
        EncodedResponse(whole.freeze())
    }
}

#[cfg(test)]
mod tests {
    use catchment_proto::cluster::v1::{Delta, ScopeState, SnapshotChunk, sync_state_response::Message};

    use super::*;

    #[test]
    fn what_is_written_is_the_message() {
        let id = ScopeId { zone: "z".into(), exporter: [192, 0, 2, 1].into(), version: 9, domain: 1 };
        let scope = ScopeState { key: Some(id.to_message()), ..ScopeState::default() };
        let revision = StateRevision { store: "s".into(), revision: 7 };

        let mut part = Part::default();
        part.scope(&scope.encode_to_vec());
        let snapshot = part.into_snapshot(Some(&revision)).decode();
        let expected =
            SnapshotChunk { scopes: vec![scope.clone()], last: true, revision: Some(revision.clone()) };
        assert_eq!(snapshot.message, Some(Message::Snapshot(expected)));

        let mut part = Part::default();
        part.scope(&scope.encode_to_vec());
        part.removed(&id);
        let delta = part.into_delta(None).decode();
        let expected = Delta { scopes: vec![scope], removed: vec![id.to_message()], revision: None };
        assert_eq!(delta.message, Some(Message::Delta(expected)));
    }
}
