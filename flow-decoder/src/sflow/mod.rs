//! sFlow version 5.

use crate::datagram::Context;
use crate::error::Malformed;

pub(crate) fn decode<S>(_context: &mut Context<'_, S>) -> Result<(), Malformed> {
    Ok(())
}
