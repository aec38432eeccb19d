//! tshark: an independent dissector of all protocols.
//!
//! ```text
//! cflow: { cflow.version, cflow.sysuptime, cflow.timestamp_tree: { cflow.unix_secs, cflow.unix_nsecs },
//!          "Set 5 [id=3] (Options Template): 256": { "Options Template (Id = 256) (...)": {} },
//!          "Set 7 [id=1024] (4 flows)": { "Flow 1": { cflow.srcaddr, ... } },        NetFlow v9: "FlowSet 7 ..."
//!          "pdu 1/30": { ... } }                                                     NetFlow v1 and v5
//! sflow: { "Flow sample, seq 1": { ..., "Raw packet header": { sflow_245.header_tree: { eth, ip, tcp } } } }
//! ```
//!
//! Of a key that is there more than once the first counts: the outer header, the forward direction.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

use super::capture::capture;
use super::flow::Flow;

/// Milliseconds after which sysUpTime begins at 0 again.
const UPTIME_WRAP: i64 = 1 << 32;

/// The flows in an exporter's datagrams, which went to `port`.
///
/// # Errors
/// Where tshark fails, or says what is not expected of it.
pub fn flows(datagrams: &[Vec<u8>], port: u16, folder: &Path) -> Result<Vec<Flow>> {
    let path = folder.join("datagrams.pcap");
    std::fs::write(&path, capture(datagrams, port))?;
    let output = Command::new("tshark")
        .env("TZ", "UTC")
        .args(["-T", "json", "--no-duplicate-keys", "-d"])
        .arg(format!("udp.port=={port},{}", if port == 6343 { "sflow" } else { "cflow" }))
        .arg("-r")
        .arg(&path)
        .output()
        .context("tshark")?;
    ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let packets: Vec<Value> = serde_json::from_slice(&output.stdout).context("tshark's JSON")?;
    ensure!(packets.len() == datagrams.len(), "tshark read {} of {}", packets.len(), datagrams.len());
    let mut netflow = NetFlow::default();
    let mut flows = Vec::new();
    for packet in &packets {
        let layers = &packet["_source"]["layers"];
        if let Some(message) = layers["cflow"].as_object() {
            netflow.read(message, &mut flows)?;
        } else {
            of_sflow(layers["sflow"].as_object().context("neither cflow nor sflow")?, &mut flows)?;
        }
    }
    Ok(flows)
}

/// What messages of an exporter with one domain say for the next ones.
#[derive(Debug, Default)]
struct NetFlow {
    /// Ids of options templates.
    options: BTreeSet<String>,
    /// When sysUpTime was 0, milliseconds since 1970: IPFIX says it in options data (element 160).
    boot: Option<i64>,
}

impl NetFlow {
    /// Sets in tshark's JSON may have lost their order, so that all templates come before all data, and options first.
    fn read(&mut self, message: &Map<String, Value>, flows: &mut Vec<Flow>) -> Result<()> {
        self.boot = boot(message)?.or(self.boot);
        let sets = || message.iter().filter_map(|(name, value)| Some((name, value.as_object()?)));
        let records = |set: &'_ Map<String, Value>, kind: &str| -> Vec<Map<String, Value>> {
            let inner = set.iter().filter(|(name, _)| name.starts_with(kind));
            inner.filter_map(|(_, value)| value.as_object().cloned()).collect()
        };
        for (_, set) in sets() {
            for template in records(set, "Options Template") {
                self.options
                    .insert(text(&template, "cflow.template_id").context("no template id")?.to_owned());
            }
        }
        let mut data = Vec::new();
        for (name, set) in sets() {
            if name.starts_with("pdu ") {
                data.push(set.clone());
            }
            let all = records(set, "Flow ");
            if !text(set, "cflow.flowset_id").is_some_and(|id| self.options.contains(id)) {
                data.extend(all);
                continue;
            }
            for option in all {
                if let Some(time) = text(&option, "cflow.sys_init_time") {
                    self.boot = Some(milliseconds(time)?.cast_signed());
                }
            }
        }
        for record in data {
            flows.push(flow(&record, self.boot)?);
        }
        Ok(())
    }
}

/// When sysUpTime was 0 by a header; IPFIX's has no such time.
fn boot(message: &Map<String, Value>) -> Result<Option<i64>> {
    let Some(uptime) = text(message, "cflow.sysuptime") else { return Ok(None) };
    let time = message["cflow.timestamp_tree"].as_object().context("a header without time")?;
    let number = |name| text(time, name).map_or(Ok(0), str::parse::<i64>);
    let now = number("cflow.unix_secs")? * 1000 + number("cflow.unix_nsecs")? / 1_000_000;
    Ok(Some(now - seconds(uptime)?))
}

fn flow(flow: &Map<String, Value>, boot: Option<i64>) -> Result<Flow> {
    let times = flow.get("cflow.timedelta_tree").and_then(first).and_then(Value::as_object);
    let time = |absolute, since_boot| -> Result<u64> {
        let Some(times) = times else { return Ok(0) };
        if let Some(time) = text(times, absolute) {
            return milliseconds(time);
        }
        let Some(time) = text(times, since_boot) else { return Ok(0) };
        // The time of a flow lies within half a wrap of the header's.
        let boot = boot.context("sysUpTime without boot time")?;
        let uptime = seconds(time)?;
        let past = if uptime > UPTIME_WRAP / 2 { uptime - UPTIME_WRAP } else { uptime };
        u64::try_from(boot + past).context("before 1970")
    };
    let address =
        |names: [&str; 2]| names.iter().find_map(|name| text(flow, name)).map(str::parse).transpose();
    let counted = |name| Ok::<_, anyhow::Error>((number(flow, name, 0)?, number(flow, name, 1)?));
    let (octets, reverse_octets) = counted("cflow.octets")?;
    let (packets, reverse_packets) = counted("cflow.packets")?;
    Ok(Flow {
        source: address(["cflow.srcaddr", "cflow.srcaddrv6"])?,
        destination: address(["cflow.dstaddr", "cflow.dstaddrv6"])?,
        protocol: number(flow, "cflow.protocol", 0)?,
        source_port: number(flow, "cflow.srcport", 0)?,
        destination_port: number(flow, "cflow.dstport", 0)?,
        octets,
        packets,
        reverse_octets,
        reverse_packets,
        tos: number(flow, "cflow.tos", 0)?,
        tcp_flags: number(flow, "cflow.tcpflags", 0)?,
        input: number(flow, "cflow.inputint", 0)?,
        output: number(flow, "cflow.outputint", 0)?,
        start: time("cflow.abstimestart", "cflow.timestart")?,
        end: time("cflow.abstimeend", "cflow.timeend")?,
        sampling_rate: 0,
    })
}

fn of_sflow(datagram: &Map<String, Value>, flows: &mut Vec<Flow>) -> Result<()> {
    for (name, sample) in datagram {
        if name.starts_with("Flow sample") || name.starts_with("Expanded flow sample") {
            flows.push(sampled(sample.as_object().context("a sample")?)?);
        }
    }
    Ok(())
}

fn sampled(sample: &Map<String, Value>) -> Result<Flow> {
    let raw =
        sample.get("Raw packet header").and_then(Value::as_object).context("a sample without header")?;
    let headers = raw.get("sflow_245.header_tree").and_then(Value::as_object).context("no headers")?;
    let layer = |name| headers.get(name).and_then(first).and_then(Value::as_object);
    let mut flow = Flow {
        octets: number(raw, "sflow_245.header.frame_length", 0)?,
        packets: 1,
        sampling_rate: number(sample, "sflow.flow_sample.sampling_rate", 0)?,
        input: number(sample, "sflow.flow_sample.input_interface", 0)?,
        output: number(sample, "sflow.flow_sample.output_interface", 0)?,
        ..Flow::default()
    };
    let is_ipv6 = layer("ip").is_none() || ether_type(headers) == Some("0x86dd");
    let (ip, prefix) = if is_ipv6 { (layer("ipv6"), "ipv6") } else { (layer("ip"), "ip") };
    let Some(ip) = ip else { return Ok(flow) };
    let address = |end: &str| text(ip, &format!("{prefix}.{end}")).map(str::parse).transpose();
    (flow.source, flow.destination) = (address("src")?, address("dst")?);
    flow.protocol = number(ip, if is_ipv6 { "ipv6.nxt" } else { "ip.proto" }, 0)?;
    flow.tos = if is_ipv6 { number(ip, "ipv6.tclass", 0)? } else { number(ip, "ip.dsfield", 0)? };
    let transport = match flow.protocol {
        6 => "tcp",
        17 => "udp",
        _ => return Ok(flow),
    };
    if let Some(header) = layer(transport) {
        flow.source_port = number(header, &format!("{transport}.srcport"), 0)?;
        flow.destination_port = number(header, &format!("{transport}.dstport"), 0)?;
        flow.tcp_flags = number(header, "tcp.flags", 0)?;
    }
    Ok(flow)
}

/// The Ethernet type behind the VLAN tags.
fn ether_type(headers: &Map<String, Value>) -> Option<&str> {
    let vlan = headers.get("vlan").and_then(|vlan| vlan.as_array().map_or(Some(vlan), |all| all.last()));
    let tagged = vlan.and_then(Value::as_object).and_then(|vlan| text(vlan, "vlan.etype"));
    tagged.or_else(|| text(headers.get("eth").and_then(first)?.as_object()?, "eth.type"))
}

fn first(value: &Value) -> Option<&Value> {
    value.as_array().map_or(Some(value), |values| values.first())
}

fn text<'a>(tree: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    tree.get(name).and_then(first)?.as_str()
}

/// The value at a place, decimal or hexadecimal; 0 where there is none.
fn number(tree: &Map<String, Value>, name: &str, at: usize) -> Result<u64> {
    let value = match tree.get(name) {
        Some(Value::Array(values)) => values.get(at),
        Some(value) if at == 0 => Some(value),
        _ => None,
    };
    let Some(value) = value.and_then(Value::as_str) else { return Ok(0) };
    let number = value.strip_prefix("0x").map_or_else(|| value.parse(), |hex| u64::from_str_radix(hex, 16));
    number.with_context(|| format!("{name}: {value}"))
}

/// `1.357000000` as milliseconds.
fn seconds(text: &str) -> Result<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    Ok(whole.parse::<i64>()? * 1000 + thousandths(fraction)?)
}

fn thousandths(fraction: &str) -> Result<i64> {
    let digits = format!("{fraction:0<3}");
    Ok(digits.get(..3).context("three digits")?.parse()?)
}

/// `Jan  1, 2026 00:00:01.006000000 UTC` or `2026-01-01T00:00:01.006` as milliseconds since 1970.
pub(super) fn milliseconds(time: &str) -> Result<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> =
        time.split([' ', ',', '-', 'T', ':', '.']).filter(|word| !word.is_empty()).collect();
    let (year, month, day, rest) = match words[..] {
        [month, day, year, hour, minute, second, fraction, ..] if MONTHS.contains(&month) => {
            let month = MONTHS.iter().position(|name| *name == month).unwrap_or_default() + 1;
            (year.parse()?, month as i64, day.parse()?, [hour, minute, second, fraction])
        }
        [year, month, day, hour, minute, second, fraction] => {
            (year.parse()?, month.parse()?, day.parse()?, [hour, minute, second, fraction])
        }
        _ => bail!("not a time: {time}"),
    };
    let [hour, minute, second, fraction] = rest;
    let seconds = days(year, month, day) * 86_400
        + hour.parse::<i64>()? * 3600
        + minute.parse::<i64>()? * 60
        + second.parse::<i64>()?;
    u64::try_from(seconds * 1000 + thousandths(fraction)?).context("before 1970")
}

/// Days since 1970 of a date of the Gregorian calendar; years begin in March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(milliseconds("Jan  1, 1970 00:00:00.000000000 UTC").unwrap(), 0);
        assert_eq!(milliseconds("1970-01-02T00:00:01.500").unwrap(), 86_401_500);
        assert_eq!(milliseconds("Jan  1, 2026 00:00:01.006000000 UTC").unwrap(), 1_767_225_601_006);
        assert_eq!(milliseconds("2024-02-29T23:59:59.999").unwrap(), 1_709_251_199_999);
        assert!(milliseconds("yesterday").is_err());
        assert_eq!(seconds("2031376.681000000").unwrap(), 2_031_376_681);
    }
}
