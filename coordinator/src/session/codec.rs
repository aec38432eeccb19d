//! `SyncStateResponse` goes out as the bytes that the feed wrote: a change is encoded once, not once a session.

use catchment_proto::cluster::v1::{SyncStateRequest, SyncStateResponse};
use prost::bytes::BufMut as _;
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder};

use crate::EncodedResponse;

/// Encoded messages out, `SyncStateRequest` in.
#[derive(Debug, Default)]
pub(super) struct SyncCodec;

/// Puts bytes into the frame.
#[derive(Debug, Default)]
pub(super) struct BytesEncoder;

impl Codec for SyncCodec {
    type Encode = EncodedResponse;
    type Decode = SyncStateRequest;
    type Encoder = BytesEncoder;
    type Decoder = ProstDecoder<SyncStateRequest>;

    fn encoder(&mut self) -> BytesEncoder {
        BytesEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<SyncStateResponse, SyncStateRequest>::default().decoder()
    }
}

impl Encoder for BytesEncoder {
    type Item = EncodedResponse;
    type Error = Status;

    fn encode(&mut self, item: EncodedResponse, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(item.bytes());
        Ok(())
    }
}
