//! Pages of long lists.
//!
//! A list is in the order of its keys, and a token is the key of the last item of the page before: so what comes and goes
//! between two pages moves no other item, and nothing is kept for a caller.

use std::fmt::Display;
use std::str::FromStr;

use catchment_proto::node::v1;
use tonic::Status;

use super::errors::argument;

/// Items of a page where the caller names no number.
const USUAL: usize = 1000;
/// Items of a page at most.
const MOST: usize = 10_000;
/// Octets of a page, at most: with this much a page ends early.
const MOST_OCTETS: usize = 3 << 20;

/// A page that is asked for.
#[derive(Debug)]
pub(super) struct Page<K> {
    size: usize,
    /// The last item of the page before.
    pub(super) after: Option<K>,
}

impl<K: FromStr> Page<K> {
    pub(super) fn read(page: Option<v1::Page>) -> Result<Self, Status> {
        let v1::Page { size, token } = page.unwrap_or_default();
        let size = match size as usize {
            0 => USUAL,
            size if size > MOST => {
                return Err(argument("page.size", format!("{size} is more than {MOST}")));
            }
            size => size,
        };
        let after = match token.as_str() {
            "" => None,
            token => Some(K::from_str(token).map_err(|_| {
                argument(
                    "page.token",
                    format!("{token:?} is no token of this list: take next_page_token as it was given"),
                )
            })?),
        };
        Ok(Self { size, after })
    }
}

/// Items as far as they fit into a page.
#[derive(Debug)]
pub(super) struct Items<T> {
    items: Vec<T>,
    size: usize,
    octets: usize,
    last: String,
    more: bool,
}

impl<T: prost::Message> Items<T> {
    pub(super) fn new<K>(page: &Page<K>) -> Self {
        Self { items: Vec::new(), size: page.size, octets: 0, last: String::new(), more: false }
    }

    /// Whether another item would not fit: then the page is done, and there are more.
    pub(super) fn is_full(&mut self) -> bool {
        self.more = self.items.len() >= self.size || self.octets >= MOST_OCTETS;
        self.more
    }

    pub(super) fn push(&mut self, key: &impl Display, item: T) {
        self.octets += item.encoded_len();
        self.items.push(item);
        self.last = key.to_string();
    }

    /// The items and the token of the next page.
    pub(super) fn finish(self) -> (Vec<T>, String) {
        (self.items, if self.more { self.last } else { String::new() })
    }
}
