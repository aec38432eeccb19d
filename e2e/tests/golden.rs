//! `ingest-node decode` over the third-party captures beside the repository, held against what tshark read from them.
//!
//! The captures are never part of the repository: `CATCHMENT_SHARED` (default `../shared`) says where they lie, and their
//! `compare.py` is the judge. Where there are none the test passes and says so; the last line of `make test` shows
//! `golden: N of 131` or `golden: NOT RUN` from the file that this test writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use catchment_e2e::binaries::{binary, target_folder, workspace};
use serde_json::Value;

/// Captures in which tshark loses its way: it does not pass over the body of a counter record that it does not know and
/// reads on inside of it. sflowtool, the reference decoder, judges them instead.
const TSHARK_IS_LOST: [&str; 4] =
    ["sflow-gopacket-counters", "sflow-opennms-3", "sflow-preetam-host-sample", "sflow-telegraf-1"];

/// Captures in which data comes before its template: how many records tshark reads, and how many there are.
const DATA_BEFORE_TEMPLATE: [(&str, usize, usize); 6] = [
    ("ipfix-ixia-data-before-template", 1, 4),
    ("ipfix-procera-2", 31, 62),
    ("ipfix-vermont-varlen", 0, 4),
    ("v9-akvorado-1", 11, 22),
    ("v9-fortigate-300d", 65, 146),
    ("v9-nprobe-3", 2, 16),
];

/// The folder of the captures, where it is there.
fn captures() -> Option<PathBuf> {
    let shared = env::var_os("CATCHMENT_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let captures = shared.join("captures");
    captures.join("compare.py").exists().then_some(captures)
}

fn write_result(result: &str) -> Result<()> {
    let path = target_folder()?.join("golden.txt");
    fs::write(&path, format!("golden: {result}\n")).with_context(|| path.display().to_string())
}

#[test]
fn every_capture_agrees_with_the_oracle() -> Result<()> {
    let Some(captures) = captures() else {
        eprintln!("no captures: not run");
        return write_result("NOT RUN");
    };
    let judge = captures.join("compare.py");
    let node = binary("ingest-node")?;
    let run = Command::new("python3").arg(&judge).arg("--bin").arg(&node).output().context("python3")?;
    let report = String::from_utf8_lossy(&run.stdout);
    let (agree, differ) =
        last_line(&report).with_context(|| format!("{report}\n{}", String::from_utf8_lossy(&run.stderr)))?;
    write_result(&format!("{agree} of {}", agree + differ))?;

    let differing = differing(&report);
    ensure!(differing.len() as u64 == differ, "{report}");
    for capture in differing {
        ensure!(TSHARK_IS_LOST.contains(&capture), "{report}");
        agrees_with_sflowtool(&node, &captures, capture)?;
    }
    Ok(())
}

#[test]
fn data_before_its_template_is_decoded() -> Result<()> {
    let Some(captures) = captures() else {
        eprintln!("no captures: not run");
        return Ok(());
    };
    let node = binary("ingest-node")?;
    for (capture, by_tshark, all) in DATA_BEFORE_TEMPLATE {
        let oracle = fs::read_to_string(captures.join("oracle").join(format!("{capture}.json")))?;
        let kinds = |text: &str, key: &str, wanted: &[&str]| -> Result<usize> {
            let is_wanted = |line: &&Value| line[key].as_str().is_some_and(|kind| wanted.contains(&kind));
            Ok(lines(text)?.iter().filter(is_wanted).count())
        };
        ensure!(kinds(&oracle, "t", &["nodata"])? > 0, "{capture}: tshark has all templates in time");
        let pcap = captures.join(capture).with_extension("pcap");
        let run = Command::new(&node).args(["decode", "--elements"]).arg(&pcap).output().context("decode")?;
        let found = kinds(&String::from_utf8_lossy(&run.stdout), "kind", &["data", "options"])?;
        let expected = kinds(&oracle, "t", &["rec"])?;
        ensure!((expected, found) == (by_tshark, all), "{capture}: tshark {expected}, decoded {found}");
    }
    Ok(())
}

/// Counter structures of which sflowtool shows every value, and the fields they fill.
const COUNTERS: [(&str, &str); 9] = [
    ("0:1", "interface"),
    ("0:2", "ethernet"),
    ("0:5", "vlan"),
    ("0:1001", "processor"),
    ("0:2003", "host_cpu"),
    ("0:2004", "host_memory"),
    ("0:2005", "host_disk"),
    ("0:2006", "host_network"),
    ("0:2201", "http"),
];

#[test]
fn sflow_counters_are_what_sflowtool_reads() -> Result<()> {
    let Some(captures) = captures() else {
        eprintln!("no captures: not run");
        return Ok(());
    };
    let node = binary("ingest-node")?;
    let mut compared = 0;
    for entry in fs::read_dir(captures.join("oracle"))? {
        let path = entry?.path();
        let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
        let Some(capture) = name.strip_suffix(".sflowtool.json") else { continue };
        let pcap = captures.join(format!("{capture}.pcap"));
        let run = Command::new(&node).args(["decode", "--kinds", "counters"]).arg(pcap).output()?;
        let ours = lines(&String::from_utf8_lossy(&run.stdout))?;
        let datagrams = lines(&fs::read_to_string(&path)?)?;
        let samples = datagrams.iter().filter_map(|datagram| datagram["samples"].as_array()).flatten();
        let is_counters = |sample: &&Value| sample["sampleType"].as_str() == Some("COUNTERSSAMPLE");
        let theirs: Vec<_> = samples.filter(is_counters).collect();
        ensure!(
            ours.len() == theirs.len(),
            "{capture}: {} counter samples, not {}",
            ours.len(),
            theirs.len()
        );
        for (ours, theirs) in ours.iter().zip(theirs) {
            compared += agreeing_counters(ours, theirs).with_context(|| capture.to_owned())?;
        }
    }
    ensure!(compared > 100, "{compared} structures were compared");
    Ok(())
}

/// How many structures of a sample are the same in both.
fn agreeing_counters(ours: &Value, theirs: &Value) -> Result<usize> {
    let mut compared = 0;
    for element in theirs["elements"].as_array().context("elements")? {
        let field = COUNTERS.iter().find(|(tag, _)| element["counterBlock_tag"].as_str() == Some(tag));
        let Some((_, field)) = field else { continue };
        let (found, expected) = (said(&ours[field]), said(element));
        // Loads have three digits there.
        let is_same = |(ours, theirs): (&f64, &f64)| (ours - theirs).abs() <= 0.001 * theirs.max(1.0);
        let agree = found.len() == expected.len() && found.iter().zip(&expected).all(is_same);
        ensure!(agree, "{field}: {found:?}, sflowtool {expected:?}");
        compared += 1;
    }
    Ok(compared)
}

/// The numbers of an object, ordered, without those that say nothing: 0, and all bits set.
fn said(object: &Value) -> Vec<f64> {
    const PERCENTAGES: [&str; 4] = ["5s_cpu", "1m_cpu", "5m_cpu", "disk_partition_max_used"];
    let values = object.as_object().into_iter().flatten().filter(|(key, _)| *key != "counterBlock_tag");
    let number = |(key, value): (&String, &Value)| {
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
        // Records have hundredths of a percent.
        Some(if PERCENTAGES.contains(&key.as_str()) { (number * 100.0).round() } else { number })
    };
    let says = |n: &f64| *n != 0.0 && *n != f64::from(u32::MAX) && *n != u64::MAX as f64;
    let mut numbers: Vec<_> = values.filter_map(number).filter(says).collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().filter(|line| !line.is_empty()).map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// `131 captures agree, 0 differ`
fn last_line(report: &str) -> Option<(u64, u64)> {
    let words: Vec<_> = report.lines().last()?.split_whitespace().collect();
    match words[..] {
        [agree, "captures", "agree,", differ, "differ"] => Some((agree.parse().ok()?, differ.parse().ok()?)),
        _ => None,
    }
}

/// Names of the captures with findings: lines `NAME: finding`.
fn differing(report: &str) -> BTreeSet<&str> {
    report.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect()
}

/// Each sample's records, `enterprise:format`, by (datagram, sequence number of the sample).
type Records = BTreeMap<(usize, String), Vec<String>>;

fn agrees_with_sflowtool(node: &Path, captures: &Path, capture: &str) -> Result<()> {
    let pcap = captures.join(capture).with_extension("pcap");
    let run = Command::new(node).args(["decode", "--elements"]).arg(&pcap).output().context("decode")?;
    let ours = our_records(&String::from_utf8_lossy(&run.stdout))?;
    let oracle = fs::read_to_string(captures.join("oracle").join(format!("{capture}.sflowtool.json")))?;
    let theirs = sflowtool_records(&oracle)?;
    ensure!(!ours.is_empty() && ours == theirs, "{capture}: {ours:?}, sflowtool {theirs:?}");
    Ok(())
}

fn our_records(text: &str) -> Result<Records> {
    let mut records = Records::new();
    for sample in lines(text)? {
        let packet = sample["packet"].as_u64().context("packet")? as usize;
        let of_sample = sample["records"].as_array().context("records")?;
        let formats =
            of_sample.iter().filter_map(|record| Some(record["format"].as_str()?.replace('/', ":")));
        records.insert((packet, sample["sequence"].to_string()), formats.collect());
    }
    Ok(records)
}

fn sflowtool_records(text: &str) -> Result<Records> {
    let mut records = Records::new();
    for (index, datagram) in lines(text)?.iter().enumerate() {
        for sample in datagram["samples"].as_array().context("samples")? {
            let elements = sample["elements"].as_array().context("elements")?;
            let tag = |element: &Value| {
                let tag = element.get("counterBlock_tag").or_else(|| element.get("flowBlock_tag"))?;
                Some(tag.as_str()?.to_owned())
            };
            let sequence = sample["sampleSequenceNo"].as_str().context("sampleSequenceNo")?;
            records.insert((index + 1, sequence.to_owned()), elements.iter().filter_map(tag).collect());
        }
    }
    Ok(records)
}
