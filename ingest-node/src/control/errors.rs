//! What is wrong with a call, for the person who made it: which argument, what was expected.

use std::net::IpAddr;

use catchment_settings::{Prefix, Refusal, Value};
use tonic::Status;

/// An argument that cannot be.
pub(super) fn argument(name: &str, what: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{name}: {what}"))
}

/// An address prefix; `None` where the text is empty.
pub(super) fn prefix(name: &str, text: &str) -> Result<Option<Prefix>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    Prefix::parse(text).map(Some).map_err(|refusal| match refusal {
        Refusal::Unexpected => argument(name, format!("expected {}, found {text:?}", Prefix::EXPECTED)),
        Refusal::Because(why) => argument(name, format!("{text:?}: {why}")),
    })
}

/// An address; `None` where the text is empty.
pub(super) fn address(name: &str, text: &str) -> Result<Option<IpAddr>, Status> {
    let expected = |_| argument(name, format!("expected an address such as 192.0.2.1, found {text:?}"));
    let address = (!text.is_empty()).then(|| text.parse::<IpAddr>().map_err(expected)).transpose()?;
    Ok(address.map(|address| address.to_canonical()))
}

/// A number with an upper bound.
pub(super) fn within<T: TryFrom<u32>>(name: &str, number: u32, most: &str) -> Result<T, Status> {
    T::try_from(number).map_err(|_| argument(name, format!("{number} is more than {most}")))
}
