//! How flow records lie in a Kafka message (`kafka.framing` of the node).
//!
//! ```text
//! packed            (varint length, FlowRecord)*      header catchment-framing: packed
//! list              FlowBatch                         header catchment-framing: list
//! single            FlowRecord                        no header
//! single-delimited  varint length, FlowRecord         no header
//! ```

use catchment_proto::flow::v1::{FlowBatch, FlowRecord};
use clap::ValueEnum;
use prost::Message;
use thiserror::Error;

/// Layout of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Framing {
    /// Many length-delimited records.
    Packed,
    /// One `FlowBatch`.
    List,
    /// One record.
    Single,
    /// One length-delimited record.
    SingleDelimited,
}

/// Why a message holds no records.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FramingError {
    /// Not protobuf, or not this framing.
    #[error(transparent)]
    Decode(#[from] prost::DecodeError),
    /// A message of one record holds more than that.
    #[error("{0} bytes after the record")]
    Trailing(usize),
    /// The framing header's value is none of the above.
    #[error("unknown framing {0:?} in the header catchment-framing")]
    Unknown(String),
    /// Nothing says how the records lie.
    #[error("the message has no header catchment-framing: give --framing")]
    Unspecified,
}

impl Framing {
    /// The framing that a message's header names.
    pub fn of_header(value: &[u8]) -> Result<Self, FramingError> {
        let name = String::from_utf8_lossy(value);
        Self::from_str(&name, false).map_err(|_| FramingError::Unknown(name.into_owned()))
    }

    /// Gives each record of `message` to `each`.
    pub fn decode(self, mut message: &[u8], mut each: impl FnMut(FlowRecord)) -> Result<(), FramingError> {
        match self {
            Self::Packed => {
                while !message.is_empty() {
                    each(FlowRecord::decode_length_delimited(&mut message)?);
                }
            }
            Self::List => FlowBatch::decode(message)?.records.into_iter().for_each(each),
            Self::Single => each(FlowRecord::decode(message)?),
            Self::SingleDelimited => {
                let record = FlowRecord::decode_length_delimited(&mut message)?;
                if !message.is_empty() {
                    return Err(FramingError::Trailing(message.len()));
                }
                each(record);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<FlowRecord> {
        (1..=3).map(|bytes| FlowRecord { bytes, ..FlowRecord::default() }).collect()
    }

    fn decoded(framing: Framing, message: &[u8]) -> Result<Vec<FlowRecord>, FramingError> {
        let mut records = Vec::new();
        framing.decode(message, |record| records.push(record)).map(|()| records)
    }

    #[test]
    fn each_framing_gives_back_its_records() {
        let packed: Vec<u8> = records().iter().flat_map(Message::encode_length_delimited_to_vec).collect();
        assert_eq!(decoded(Framing::Packed, &packed), Ok(records()));
        let list = FlowBatch { records: records() }.encode_to_vec();
        assert_eq!(decoded(Framing::List, &list), Ok(records()));
        let one = records().remove(0);
        assert_eq!(decoded(Framing::Single, &one.encode_to_vec()), Ok(vec![one.clone()]));
        let delimited = one.encode_length_delimited_to_vec();
        assert_eq!(decoded(Framing::SingleDelimited, &delimited), Ok(vec![one]));
        assert_eq!(decoded(Framing::SingleDelimited, &packed), Err(FramingError::Trailing(6)));
        assert!(decoded(Framing::Packed, &packed[..packed.len() - 1]).is_err());
    }

    #[test]
    fn headers_name_framings() {
        assert_eq!(Framing::of_header(b"packed"), Ok(Framing::Packed));
        assert_eq!(Framing::of_header(b"single-delimited"), Ok(Framing::SingleDelimited));
        assert_eq!(Framing::of_header(b"avro"), Err(FramingError::Unknown("avro".into())));
    }
}
