//! Makes docs/protocols.md of the tables that decode, and holds the page to them.
//!
//! After a change to a table, `UPDATE_DOCS=1 cargo test -p flow-decoder --lib reference` writes the page anew.

mod flow_records;
mod wrong;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::mapping::{FIRST, MPLS_LABELS, Mapping, OBSERVED, SECOND, STAND_INS};
use super::step::Op;
use crate::elements;
use crate::protobuf::Tag;
use crate::record::flow;
use crate::record_field::registered;

fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A field as flow.proto declares it: number to (name, type, what it is).
fn declared() -> BTreeMap<u32, (String, String, String)> {
    let text = fs::read_to_string(workspace("proto/proto/catchment/flow/v1/flow.proto")).expect("flow.proto");
    let body = text.split("message FlowRecord {").nth(1).expect("FlowRecord");
    let mut fields = BTreeMap::new();
    let mut comment = String::new();
    for line in body.lines().map(str::trim).take_while(|line| !line.starts_with("// Encapsulation")) {
        if let Some(said) = line.strip_prefix("// ") {
            let _ = write!(comment, "{}{said}", if comment.is_empty() { "" } else { " " });
            continue;
        }
        if let Some((head, number)) = line.trim_end_matches(';').split_once(" = ")
            && let Some((kind, name)) = head.rsplit_once(' ')
            && let Ok(number) = number.parse()
        {
            fields.insert(number, (name.to_owned(), kind.to_owned(), std::mem::take(&mut comment)));
        }
        comment.clear();
    }
    fields
}

/// The first sentence.
fn meaning(comment: &str) -> &str {
    comment.split(". ").next().unwrap_or_default().trim_end_matches('.')
}

fn element(row: &Mapping) -> String {
    let name = registered(row.pen, row.id).map_or("", |element| element.name);
    let number = if row.pen == 0 { row.id.to_string() } else { format!("{}/{}", row.pen, row.id) };
    format!("{number} {name}")
}

fn how(op: Op) -> &'static str {
    match op {
        Op::HighByte => " (upper octet)",
        Op::LowByte => " (lower octet)",
        Op::Flags => " (with those of the other)",
        Op::Uptime => " (sysUpTime)",
        Op::MicrosecondsBeforeExport => " (before the export time)",
        Op::EtypeOfIpVersion => " (by version)",
        Op::Segment => " (segment)",
        Op::SegmentTunnel => " (kind)",
        _ => "",
    }
}

/// The elements that fill each field, in order of preference.
fn sources() -> BTreeMap<u32, Vec<String>> {
    let mut sources: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut add = |tag: Tag, source: String| sources.entry(tag.number()).or_default().push(source);
    for row in FIRST {
        let only = match row.pen {
            0 if STAND_INS.contains(&row.id) => ", where a template has none of these",
            0 if OBSERVED.contains(&row.id) => ", when it was observed",
            _ => "",
        };
        add(row.tag, format!("{}{}{only}", element(row), how(row.op)));
    }
    for row in SECOND {
        add(row.tag, format!("{}, the second in a template", element(row)));
    }
    let (first, last) = (MPLS_LABELS.start(), MPLS_LABELS.end());
    add(flow::MPLS_LABEL, format!("{first} to {last} mplsTopLabelStackSection and those below it"));
    sources
}

fn page() -> String {
    let mut page = String::from(HEAD);
    let sources = sources();
    for (number, (name, kind, comment)) in declared() {
        if let Some(from) = sources.get(&number) {
            let _ = writeln!(
                page,
                "| `{name}` | {number} | {kind} | {} | {} |",
                meaning(&comment),
                from.join("; ")
            );
        }
    }
    page.push_str(BESIDE);
    page.push_str(&flow_records::table());
    page.push_str(COUNTERS);
    for (data_format, field) in crate::sflow::typed_counters() {
        let (enterprise, format) = (data_format >> 12, data_format & 0xfff);
        let name = elements::sflow_counter_record(enterprise, format).unwrap_or_default();
        let _ = writeln!(page, "| {enterprise}:{format} | {name} | {field} |");
    }
    page.push_str(MALFORMED);
    page.push_str(&wrong::tables());
    page
}

#[test]
fn the_page_is_the_tables() {
    let path = workspace("docs/protocols.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, page()).expect("writable page");
    }
    let written = fs::read_to_string(&path).expect("docs/protocols.md");
    assert!(written == page(), "docs/protocols.md differs from the tables; see the head of reference.rs");
}

#[test]
fn every_field_that_is_filled_is_declared() {
    let declared = declared();
    assert_eq!(
        declared.get(&9).map(|(name, kind, _)| (name.as_str(), kind.as_str())),
        Some(("bytes", "uint64"))
    );
    for number in sources().keys() {
        assert!(declared.contains_key(number), "field {number}");
    }
}

const HEAD: &str = "# Protocols

What is decoded, into which field of a record, and what becomes of input that is wrong. This page is made from the tables that decode
(`flow-decoder/src/plan/reference.rs` says how).

| protocol | what is decoded |
|---|---|
| NetFlow v1, v5, v7 | all fields; v5's sampling interval |
| NetFlow v9 (RFC 3954) | templates, options templates, data, options data |
| IPFIX (RFC 7011, RFC 7012) | the same; variable lengths, enterprise elements, biflow (RFC 5103; as one record or, with [`split_biflows`](configuration.md), two), structured data (RFC 6313) |
| sFlow v5 | flow, counter and drop samples, expanded or not; sampled headers through tunnels |

## Fields of NetFlow and IPFIX records

Several elements of one field stand in order of preference: the first whose value is not 0 counts. `enterprise/number`; a number alone is
IANA's or NetFlow v9's. [Field maps](configuration.md#what-is-known-of-exporters-better-than-they-say-it) send any element elsewhere. The
unit is that of the field in [flow.proto](../proto/proto/catchment/flow/v1/flow.proto).

| field | number | type | meaning | elements |
|---|---|---|---|---|
";

const BESIDE: &str = "
Beside single elements:

| what | elements | fields |
|---|---|---|
| sampling | 34, 50; 305 and 306: (305 + 306) / 305; 309 and 310: 310 / 309; 311: 1 / 311; in the record, else in options data: of its sampler (48) or selector (302), else of its interface (options data with v9 scope 2, 10, 14, 252 or 253; the input interface, the output interface where 61 says egress), else of the domain | `sampling_rate` |
| start or end that is not said | 162, 161 and the other time | `time_flow_start_ns`, `time_flow_end_ns` |
| sysUpTime in IPFIX | 160, in options data or in the record | `time_flow_start_ns`, `time_flow_end_ns` |
| ICMP in the destination port | 4 and 11, where a template has no ICMP element | `icmp_type`, `icmp_code` |
| Ethernet type | the family of the first address that is not 0, where neither 256 nor 60 says it | `etype` |
| names that options data gives, in records after it; off with `exporter.names: off` | 82 by 10, 14, 252, 253 or v9 scope 2; 236 by 234, 235; 96 by 95 | `in_if_name`, `out_if_name`, `ingress_vrf_name`, `egress_vrf_name`, `application_name` |
| the same, for people only: `catchctl -o json exporters` shows them | 83 of an interface; 300, the exporter's own | none |
| segment routing (RFC 9487) | 497, 494, 495, 499, 496 | `ipv6_routing_header_addresses`, `ipv6_routing_header_seg_left` |
| packet sections (RFC 7133) | 315, 104 from the Ethernet header on, 313 from the IP header on, 316 a label stack; not with an offset (409, 102) | as sampled headers do, but what an element of the template fills; `packets` is 1, `bytes` what the IP header says |
| structured data (RFC 6313) | 291, 292, 293 and all elements of these types | the first element with a value, of TCP flags all of a list, for fields that nothing else fills |
| BGP lists (RFC 8549) | 485, 512 | `bgp_communities`, `as_path` |

## sFlow

";

const COUNTERS: &str = "
0:2 to 0:4 fill what no sampled header fills, 0:1029 and 0:1030 where the header has no tunnel; of two records of a kind the first counts.

Counter structures with a message of their own in `SflowCounters`; all others are kept as they came, in `structures`:

| structure | name | field number |
|---|---|---|
";

const MALFORMED: &str = "
## What is wrong

Damage costs the smallest part that it is in: a record, a set, a sample. Everything else in the datagram is decoded. Each occurrence is
counted by its reason in `catchment_malformed_total{reason}`; a datagram with damage is `partly_decoded`, one of which nothing could
be used is `rejected`, and a data set that is given up is counted in `catchment_sets_rejected_total{reason}` as well. `ingest-node decode`
prints each with the byte it is at and the set, template and record it is in.

";
