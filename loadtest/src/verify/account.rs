//! The account of all records: each one that was sent must be found once, with every value as sent.
//!
//! One bit per record remembers what was found, so ten million records cost little more than a megabyte. Invariant:
//! `consumed = correct + different + repeated + unexpected`, and `expected = correct + different + missing`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catchment_proto::flow::v1::FlowRecord;
use serde::Serialize;

use super::differences::differences;
use super::expected;
use crate::exporter::Exporter;
use crate::model::GeneratedFlow;
use crate::workload::Workload;

/// Examples kept of each kind of fault.
const EXAMPLES: usize = 5;
/// Clocks of two machines may differ by so much before a time of reception counts as wrong.
const CLOCK_LEEWAY: Duration = Duration::from_secs(60);

/// What a verification found; printed as one JSON line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Records that were sent.
    pub expected: u64,
    /// Records that were consumed.
    pub consumed: u64,
    /// Records found for the first time, all values as sent.
    pub correct: u64,
    /// Records never found.
    pub missing: u64,
    /// Records found once more.
    pub repeated: u64,
    /// Records found for the first time, some value not as sent.
    pub different: u64,
    /// Records that nobody sent.
    pub unexpected: u64,
    /// Records of others, where they may be in the topic as well; not among the consumed.
    pub others: u64,
    /// How many records differ in each field.
    pub different_fields: BTreeMap<&'static str, u64>,
    /// The first faults, in words.
    pub examples: Vec<String>,
}

/// Whether records of anybody else may be in the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// What was not sent is a fault.
    None,
    /// What was not sent is of others.
    Present,
}

/// Takes consumed records and settles each.
#[derive(Debug)]
pub struct Accountant {
    workload: Workload,
    exporters: Vec<Exporter>,
    found: Vec<Bitmap>,
    zone: String,
    others: Others,
    latest_reception_ns: u64,
    account: Account,
}

impl Accountant {
    /// An account on which nothing was found yet. All records must carry `zone`.
    pub fn new(workload: Workload, zone: String, others: Others) -> Self {
        let exporters: Vec<Exporter> = workload.exporters().collect();
        let found =
            exporters.iter().map(|exporter| Bitmap::new(workload.records_of(exporter.index))).collect();
        let expected = workload.records().unwrap_or(0);
        let account = Account { expected, missing: expected, ..Account::default() };
        Self { workload, exporters, found, zone, others, latest_reception_ns: latest_reception_ns(), account }
    }

    /// True once every record was found.
    pub fn is_complete(&self) -> bool {
        self.account.missing == 0
    }

    /// How many records were consumed so far, without those of others.
    pub fn consumed(&self) -> u64 {
        self.account.consumed
    }

    /// How many records were settled so far, whosever they are.
    pub fn taken(&self) -> u64 {
        self.account.consumed + self.account.others
    }

    /// Settles one consumed record.
    pub fn settle(&mut self, record: &FlowRecord) {
        let identity = GeneratedFlow::identity(&record.src_addr, &record.dst_addr, record.src_port);
        let (index, number) = self.workload.number_of(identity);
        let found = self.found.get_mut(index as usize).filter(|found| number < found.len);
        if found.is_none() && self.others == Others::Present {
            self.account.others += 1;
            return;
        }
        self.account.consumed += 1;
        let Some(found) = found else {
            self.account.unexpected += 1;
            self.account.example("unexpected", || format!("{record:?}"));
            return;
        };
        if !found.set(number) {
            self.account.repeated += 1;
            self.account.example("repeated", || format!("record {number} of exporter {index}"));
            return;
        }
        self.account.missing -= 1;
        self.compare(index, number, record);
    }

    /// The account, closed: the first missing records are named.
    pub fn close(mut self) -> Account {
        for (exporter, found) in self.exporters.iter().zip(&self.found) {
            let missing = found.first_unset();
            if let Some(number) = missing {
                self.account.example("missing", || {
                    format!("record {number} of exporter {} ({})", exporter.index, exporter.address)
                });
            }
        }
        self.account
    }

    fn compare(&mut self, index: u32, number: u64, record: &FlowRecord) {
        let exporter = &self.exporters[index as usize];
        let mut expected = expected::record(exporter, number, record.time_received_ns);
        expected.zone.clone_from(&self.zone);
        expected.collector_node.clone_from(&record.collector_node);
        if !exporter.has_known_sequence() {
            // It cannot be less than without any refresh by the clock.
            expected.sequence_num = expected.sequence_num.max(record.sequence_num);
        }
        let received = record.time_received_ns;
        if received == 0 || received > self.latest_reception_ns {
            self.latest_reception_ns = latest_reception_ns();
        }
        let is_plausible = received > 0 && received <= self.latest_reception_ns;
        if is_plausible && *record == expected {
            self.account.correct += 1;
            return;
        }
        self.account.different += 1;
        if !is_plausible {
            *self.account.different_fields.entry("time_received_ns").or_default() += 1;
        }
        for difference in differences(&expected, record) {
            *self.account.different_fields.entry(difference.field).or_default() += 1;
            self.account.example("different", || {
                let (field, expected, found) = (difference.field, &difference.expected, &difference.found);
                format!("record {number} of exporter {index}: {field} is {found}, sent was {expected}")
            });
        }
    }
}

impl Account {
    /// True where every record was found exactly once, as sent, and nothing else.
    pub fn is_exact(&self) -> bool {
        self.correct == self.expected && self.consumed == self.expected
    }

    fn example(&mut self, kind: &str, text: impl FnOnce() -> String) {
        if self.examples.iter().filter(|example| example.starts_with(kind)).count() < EXAMPLES {
            self.examples.push(format!("{kind}: {}", text()));
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, consumed, correct, missing, repeated, different, unexpected, .. } = self;
        writeln!(f, "expected {expected}, consumed {consumed}")?;
        writeln!(
            f,
            "correct {correct}, missing {missing}, repeated {repeated}, different {different}, unexpected {unexpected}"
        )?;
        if self.others > 0 {
            writeln!(f, "and {} records of others", self.others)?;
        }
        for (field, count) in &self.different_fields {
            writeln!(f, "  {field} differs in {count}")?;
        }
        for example in &self.examples {
            writeln!(f, "  {example}")?;
        }
        Ok(())
    }
}

fn latest_reception_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now + CLOCK_LEEWAY).as_nanos() as u64
}

/// One bit for each record of an exporter.
#[derive(Debug)]
struct Bitmap {
    words: Vec<u64>,
    len: u64,
}

impl Bitmap {
    fn new(len: u64) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len }
    }

    /// Sets a bit; true if it was not set before.
    fn set(&mut self, at: u64) -> bool {
        let word = &mut self.words[(at / 64) as usize];
        let bit = 1 << (at % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn first_unset(&self) -> Option<u64> {
        let word = self.words.iter().position(|word| *word != u64::MAX)?;
        let at = word as u64 * 64 + u64::from(self.words[word].trailing_ones());
        (at < self.len).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::tests::workload;

    const OPTIONS: &str = "--protocol v5,v9,ipfix,sflow --exporters 4 --records 1000";
    const RECEIVED: u64 = 1_700_000_000_000_000_000;

    fn sent() -> Vec<FlowRecord> {
        let workload = workload(OPTIONS).unwrap();
        let of_exporter = |exporter: Exporter| {
            (0..workload.records_of(exporter.index))
                .map(move |number| expected::record(&exporter, number, RECEIVED))
        };
        workload.exporters().flat_map(of_exporter).collect()
    }

    fn account_of(records: &[FlowRecord]) -> Account {
        let mut accountant = Accountant::new(workload(OPTIONS).unwrap(), String::new(), Others::None);
        records.iter().for_each(|record| accountant.settle(record));
        assert_eq!(accountant.is_complete(), accountant.account.missing == 0);
        let account = accountant.close();
        assert_eq!(
            account.consumed,
            account.correct + account.different + account.repeated + account.unexpected
        );
        assert_eq!(account.expected, account.correct + account.different + account.missing);
        account
    }

    #[test]
    fn what_was_sent_is_exact_in_any_order() {
        let mut records = sent();
        assert!(account_of(&records).is_exact());
        records.reverse();
        assert!(account_of(&records).is_exact());
    }

    #[test]
    fn a_lost_record_is_missing_and_named() {
        let mut records = sent();
        records.remove(300);
        let account = account_of(&records);
        assert!(!account.is_exact());
        assert_eq!((account.missing, account.correct), (1, 999));
        assert_eq!(account.examples, ["missing: record 50 of exporter 1 (127.1.0.2)"]);
    }

    #[test]
    fn a_record_found_twice_is_repeated() {
        let mut records = sent();
        records.push(records[7].clone());
        let account = account_of(&records);
        assert!(!account.is_exact());
        assert_eq!((account.repeated, account.correct, account.missing), (1, 1000, 0));
    }

    #[test]
    fn a_changed_value_is_different_and_its_field_named() {
        let mut records = sent();
        records[0].sampling_rate += 1;
        records[400].time_flow_start_ns += 1;
        records[600].application_name.push('x');
        records[900].time_received_ns = 0;
        let account = account_of(&records);
        assert_eq!((account.different, account.missing), (4, 0));
        let fields: Vec<_> = account.different_fields.keys().copied().collect();
        let named = ["application_name", "sampling_rate", "time_flow_start_ns", "time_received_ns"];
        assert!(named.iter().all(|field| fields.contains(field)), "{fields:?}");
    }

    #[test]
    fn a_record_that_nobody_sent_is_unexpected() {
        let mut records = sent();
        records.push(FlowRecord { src_addr: vec![192, 0, 2, 1], ..records[0].clone() });
        let account = account_of(&records);
        assert_eq!((account.unexpected, account.correct), (1, 1000));
    }

    #[test]
    fn records_of_others_are_counted_apart() {
        let options = workload(OPTIONS).unwrap();
        let mut accountant = Accountant::new(options, String::new(), Others::Present);
        let mut records = sent();
        records.push(FlowRecord { src_addr: vec![192, 0, 2, 1], ..records[0].clone() });
        records.iter().for_each(|record| accountant.settle(record));
        assert_eq!((accountant.consumed(), accountant.taken()), (1000, 1001));
        let account = accountant.close();
        assert!(account.is_exact());
        assert_eq!((account.others, account.unexpected), (1, 0));
    }

    #[test]
    fn examples_are_few_whatever_goes_wrong() {
        assert_eq!(account_of(&[]).examples.len(), 4);
        let wrong: Vec<_> =
            sent().into_iter().map(|record| FlowRecord { packets: 0, bytes: 0, ..record }).collect();
        assert_eq!(account_of(&wrong).examples.len(), EXAMPLES);
    }
}
