//! How a message was compressed, read from the broker's own record batch: a client shows it decompressed.
//!
//! ```text
//! Fetch v4 request:  length | key 1 | version 4 | correlation | client "" | replica -1 | wait | min | max | isolation
//!                    | 1 topic: name | 1 partition: id | offset | max
//! response:          length | correlation | throttle | 1 topic: name | 1 partition: id | error | 2 x offset
//!                    | aborted transactions | length | record batch
//! record batch:      offset 8 | length 4 | leader epoch 4 | magic 1 | CRC 4 | attributes 2 | ...
//! ```
//!
//! The codec is in the three low bits of the attributes (KIP-98).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Seconds that a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of a partition that are asked for; the first batch comes whole, however large it is.
const MOST: i32 = 1 << 16;
/// Where the attributes stand in a record batch.
const ATTRIBUTES: usize = 8 + 4 + 4 + 1 + 4;

/// The codec of the first batch in a partition, as `kafka.compression` names it.
///
/// # Errors
/// Where the broker does not answer with a batch.
pub fn codec(broker: &str, topic: &str, partition: i32) -> Result<&'static str> {
    let batch = first_batch(broker, topic, partition)?;
    let attributes = batch.get(ATTRIBUTES + 1).context("the partition is empty")?;
    Ok(match attributes & 0b111 {
        0 => "none",
        1 => "gzip",
        2 => "snappy",
        3 => "lz4",
        4 => "zstd",
        other => bail!("unknown codec {other}"),
    })
}

fn first_batch(broker: &str, topic: &str, partition: i32) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend([1_i16, 4].map(i16::to_be_bytes).concat());
    request.extend(7_i32.to_be_bytes());
    request.extend(0_i16.to_be_bytes());
    request.extend([-1, 1_000, 1, MOST].map(i32::to_be_bytes).concat());
    request.push(0);
    request.extend(1_i32.to_be_bytes());
    request.extend((topic.len() as i16).to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend([1, partition].map(i32::to_be_bytes).concat());
    request.extend(0_i64.to_be_bytes());
    request.extend(MOST.to_be_bytes());

    let mut stream = TcpStream::connect(broker)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&(request.len() as i32).to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut response)?;

    let mut response = Reader(&response);
    response.skip(4 + 4 + 4)?;
    let name = response.int(2)?;
    response.skip(usize::try_from(name)?)?;
    response.skip(4 + 4)?;
    let error = response.int(2)?;
    ensure!(error == 0, "error {error} of the broker");
    response.skip(8 + 8)?;
    let aborted = response.int(4)?;
    response.skip(16 * usize::try_from(aborted.max(0))?)?;
    let length = response.int(4)?;
    Ok(response.skip(usize::try_from(length)?)?.to_vec())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn skip(&mut self, octets: usize) -> Result<&'a [u8]> {
        let (skipped, rest) = self.0.split_at_checked(octets).context("a short answer")?;
        self.0 = rest;
        Ok(skipped)
    }

    /// A signed big-endian integer of two or four octets.
    fn int(&mut self, octets: usize) -> Result<i32> {
        let bytes = self.skip(octets)?;
        Ok(match *bytes {
            [a, b] => i16::from_be_bytes([a, b]).into(),
            [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
            _ => bail!("no integer of {octets} octets"),
        })
    }
}
