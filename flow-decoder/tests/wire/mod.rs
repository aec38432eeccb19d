//! Builds NetFlow v9 and IPFIX datagrams, also wrong ones: whatever a header says can be said otherwise.
//!
//! ```text
//! Message::ipfix().templates(&[(256, &[field(8, 4), varlen(82)])]).set(256, [..]).build()
//! ```

#![allow(dead_code, reason = "each test binary uses its part")]

use flow_decoder::template::VARIABLE;

/// Export time of built messages, seconds since 1970.
pub(crate) const EXPORT_TIME: u32 = 1_700_000_000;
/// sysUpTime of built v9 messages, ms.
pub(crate) const UPTIME: u32 = 100_000;
/// Source id or observation domain of built messages.
pub(crate) const DOMAIN: u32 = 7;

/// One field of a template as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Enterprise number, where the enterprise bit is set.
    pub(crate) pen: Option<u32>,
    pub(crate) id: u16,
    pub(crate) length: u16,
}

/// A field without an enterprise.
pub(crate) const fn field(id: u16, length: u16) -> Field {
    Field { pen: None, id, length }
}

/// An enterprise's field.
pub(crate) const fn vendor(pen: u32, id: u16, length: u16) -> Field {
    Field { pen: Some(pen), id, length }
}

/// A field whose length each record says.
pub(crate) const fn varlen(id: u16) -> Field {
    field(id, VARIABLE)
}

impl Field {
    fn write(&self, out: &mut Vec<u8>) {
        let bit = if self.pen.is_some() { 0x8000 } else { 0 };
        put16(out, self.id | bit);
        put16(out, self.length);
        if let Some(pen) = self.pen {
            put32(out, pen);
        }
    }
}

/// A message under construction.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    /// What the header says instead of the right count (v9) or length (IPFIX).
    header_says: Option<u16>,
}

impl Message {
    /// A v9 message of [`DOMAIN`].
    pub(crate) fn v9() -> Self {
        let mut bytes = Vec::new();
        put16(&mut bytes, 9);
        put16(&mut bytes, 1);
        for word in [UPTIME, EXPORT_TIME, 1, DOMAIN] {
            put32(&mut bytes, word);
        }
        Self { bytes, header_says: None }
    }

    /// An IPFIX message of [`DOMAIN`].
    pub(crate) fn ipfix() -> Self {
        let mut bytes = Vec::new();
        put16(&mut bytes, 10);
        put16(&mut bytes, 0);
        for word in [EXPORT_TIME, 1, DOMAIN] {
            put32(&mut bytes, word);
        }
        Self { bytes, header_says: None }
    }

    fn is_v9(&self) -> bool {
        self.bytes[1] == 9
    }

    fn patch32(mut self, at: usize, value: u32) -> Self {
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        self
    }

    /// Another source id or observation domain.
    pub(crate) fn domain(self, domain: u32) -> Self {
        let at = if self.is_v9() { 16 } else { 12 };
        self.patch32(at, domain)
    }

    /// Another export time, seconds since 1970.
    pub(crate) fn export_time(self, seconds: u32) -> Self {
        let at = if self.is_v9() { 8 } else { 4 };
        self.patch32(at, seconds)
    }

    /// Another sysUpTime (v9), ms.
    pub(crate) fn uptime(self, ms: u32) -> Self {
        self.patch32(4, ms)
    }

    /// Another sequence number.
    pub(crate) fn sequence(self, sequence: u32) -> Self {
        let at = if self.is_v9() { 12 } else { 8 };
        self.patch32(at, sequence)
    }

    /// What the header shall say as count (v9) or length (IPFIX).
    pub(crate) fn header_says(mut self, value: u16) -> Self {
        self.header_says = Some(value);
        self
    }

    /// A set with the right length.
    pub(crate) fn set(self, id: u16, body: impl AsRef<[u8]>) -> Self {
        let length = 4 + body.as_ref().len() as u16;
        self.set_that_says(id, length, body)
    }

    /// A set whose header says `length`.
    pub(crate) fn set_that_says(mut self, id: u16, length: u16, body: impl AsRef<[u8]>) -> Self {
        put16(&mut self.bytes, id);
        put16(&mut self.bytes, length);
        self.bytes.extend_from_slice(body.as_ref());
        self
    }

    /// Octets that are no set.
    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// A template set.
    pub(crate) fn templates(self, templates: &[(u16, &[Field])]) -> Self {
        let id = if self.is_v9() { 0 } else { 2 };
        let body: Vec<u8> = templates.iter().flat_map(|(id, fields)| template(*id, fields)).collect();
        self.set(id, body)
    }

    /// An options template set with one template.
    pub(crate) fn options_template(self, id: u16, scope: &[Field], options: &[Field]) -> Self {
        if self.is_v9() {
            self.set(1, v9_options_template(id, scope, options))
        } else {
            self.set(3, ipfix_options_template(id, scope, options))
        }
    }

    /// The datagram.
    pub(crate) fn build(mut self) -> Vec<u8> {
        let right = if self.is_v9() { 1 } else { self.bytes.len() as u16 };
        let says = self.header_says.unwrap_or(right);
        self.bytes[2..4].copy_from_slice(&says.to_be_bytes());
        self.bytes
    }
}

/// A template record.
pub(crate) fn template(id: u16, fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    put16(&mut out, id);
    put16(&mut out, fields.len() as u16);
    fields.iter().for_each(|field| field.write(&mut out));
    out
}

/// A v9 options template record (RFC 3954 6.1).
pub(crate) fn v9_options_template(id: u16, scope: &[Field], options: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    put16(&mut out, id);
    put16(&mut out, 4 * scope.len() as u16);
    put16(&mut out, 4 * options.len() as u16);
    scope.iter().chain(options).for_each(|field| field.write(&mut out));
    out
}

/// An IPFIX options template record (RFC 7011 3.4.2.2).
pub(crate) fn ipfix_options_template(id: u16, scope: &[Field], options: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    put16(&mut out, id);
    put16(&mut out, (scope.len() + options.len()) as u16);
    put16(&mut out, scope.len() as u16);
    scope.iter().chain(options).for_each(|field| field.write(&mut out));
    out
}

/// A v5 datagram with `count` in its header and `records` behind it, 48 octets each.
pub(crate) fn v5(count: u16, records: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put16(&mut out, 5);
    put16(&mut out, count);
    for word in [UPTIME, EXPORT_TIME, 0, 1, 0x0102_0000] {
        put32(&mut out, word);
    }
    out.extend_from_slice(records);
    out
}

/// A v5 record: 10.0.0.1:1234 -> 10.0.0.2:80, 10 packets of 1000 octets in all.
pub(crate) fn v5_record() -> [u8; 48] {
    let mut out = Vec::new();
    for word in [0x0a00_0001, 0x0a00_0002, 0, 0x0001_0002, 10, 1000, UPTIME - 2000, UPTIME - 1000] {
        put32(&mut out, word);
    }
    for half in [1234, 80, 0x0010, 0x0600, 65_001, 65_002, 0x1810, 0] {
        put16(&mut out, half);
    }
    out.try_into().expect("eight words and eight halves")
}

pub(crate) fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}
