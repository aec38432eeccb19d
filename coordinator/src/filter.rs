//! Which exporters a list is to have, and where its next page begins.

use std::net::IpAddr;

use catchment_proto::cluster::v1::ExporterKey;
use catchment_proto::node::v1::{ExporterFilter, Page};
use tonic::Status;

use crate::sequences::address;

/// An exporter: zone and address.
pub(crate) type Exporter = (Box<str>, IpAddr);

/// Exporters in a zone, in a prefix, or all.
#[derive(Clone, Debug)]
pub(crate) struct ExporterMatch {
    zone: Option<String>,
    prefix: Option<(IpAddr, u8)>,
}

impl ExporterMatch {
    /// Reads the contract's filter; the error names what cannot be read.
    pub(crate) fn new(filter: Option<&ExporterFilter>) -> Result<Self, Status> {
        let Some(filter) = filter else { return Ok(Self { zone: None, prefix: None }) };
        let prefix = if filter.prefix.is_empty() { None } else { Some(prefix(&filter.prefix)?) };
        Ok(Self { zone: filter.zone.clone(), prefix })
    }

    /// Whether it takes this one.
    pub(crate) fn takes(&self, zone: &str, exporter: IpAddr) -> bool {
        self.zone.as_ref().is_none_or(|wanted| wanted == zone)
            && self.prefix.is_none_or(|(network, length)| in_prefix(network, length, exporter))
    }
}

fn prefix(text: &str) -> Result<(IpAddr, u8), Status> {
    let wrong = |why: &str| Status::invalid_argument(format!("filter.prefix: `{text}` {why}"));
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr =
        address.parse().map_err(|_| wrong("is no address and no prefix such as 192.0.2.0/24"))?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(bits), str::parse).ok().filter(|length| *length <= bits);
    let length = length.ok_or_else(|| wrong(&format!("has no length from 0 to {bits}")))?;
    Ok((address, length))
}

fn in_prefix(network: IpAddr, length: u8, address: IpAddr) -> bool {
    let equal = |network: u128, address: u128, bits: u32| {
        let shift = bits - u32::from(length);
        shift >= bits || network >> shift == address >> shift
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            equal(network.to_bits().into(), address.to_bits().into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => equal(network.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

/// Reads an exporter's key.
pub(crate) fn exporter_key(key: &ExporterKey) -> Result<Exporter, Status> {
    let address = address(&key.address).ok_or_else(|| {
        Status::invalid_argument(format!("address: {} octets, an address has 4 or 16", key.address.len()))
    })?;
    Ok((key.zone.as_str().into(), address))
}

/// How many entries a page has, where nobody says, and at most.
const PAGE: usize = 1000;
const MAX_PAGE: usize = 10_000;

/// The size of the page that is asked for, and the token of the page before.
pub(crate) fn page(page: Option<&Page>) -> (usize, &str) {
    let Some(page) = page else { return (PAGE, "") };
    let size = usize::try_from(page.size).unwrap_or(MAX_PAGE);
    (if size == 0 { PAGE } else { size.min(MAX_PAGE) }, &page.token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(zone: Option<&str>, prefix: &str, exporter: &str) -> bool {
        let filter = ExporterFilter { zone: zone.map(str::to_owned), prefix: prefix.to_owned() };
        ExporterMatch::new(Some(&filter)).unwrap().takes("lab", exporter.parse().unwrap())
    }

    #[test]
    fn filters_take_what_lies_in_the_prefix_and_zone() {
        assert!(matches(None, "", "192.0.2.1"));
        assert!(matches(Some("lab"), "192.0.2.0/24", "192.0.2.255"));
        assert!(!matches(Some(""), "", "192.0.2.1"));
        assert!(!matches(None, "192.0.2.0/25", "192.0.2.128"));
        assert!(matches(None, "192.0.2.1", "192.0.2.1") && !matches(None, "192.0.2.1", "192.0.2.2"));
        assert!(matches(None, "0.0.0.0/0", "203.0.113.1") && !matches(None, "0.0.0.0/0", "2001:db8::1"));
        assert!(
            matches(None, "2001:db8::/32", "2001:db8:1::1")
                && !matches(None, "2001:db8::/128", "2001:db8::1")
        );
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        for text in ["x", "192.0.2.0/33", "192.0.2.0/", "2001:db8::/129", "192.0.2.0/24/1"] {
            let filter = ExporterFilter { zone: None, prefix: text.to_owned() };
            let status = ExporterMatch::new(Some(&filter)).unwrap_err();
            assert!(status.message().contains(text), "{status}");
        }
    }
}
