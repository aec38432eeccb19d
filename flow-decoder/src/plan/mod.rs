//! Decode plans: a template compiled once into the steps that turn its records into `FlowRecord` bytes.
//!
//! ```text
//! Template --compile--> Plan { steps: [what octets -> which field, how], choices, constants }
//! record octets + Scene (header, times, exporter state) --run--> protobuf fields in a RecordWriter
//! ```
//!
//! A plan for fixed-length records knows every offset; one for variable-length records has its fields located first,
//! record by record, into memory that the decoder reuses. Which element fills which field is [`mapping`]'s table, and
//! before it what a person says of the exporter ([`How`](crate::overrides::How)).

mod beside;
mod biflow;
mod compile;
mod extra;
mod fixed;
mod lists;
mod mapping;
mod named;
#[cfg(test)]
mod reference;
mod run;
mod step;

pub(crate) use biflow::Reverse;
pub(crate) use run::{Located, Scene};

use std::sync::Arc;

use self::beside::Beside;
use self::extra::ExtraStep;
use self::fixed::FixedStep;
use self::named::NamedStep;
use self::step::Step;
use crate::template::Template;

/// A template and the steps that decode its records.
#[derive(Debug)]
pub struct Plan {
    template: Arc<Template>,
    /// Octets of a record, at least.
    record_len: usize,
    /// Quick steps, where records have a fixed length.
    fixed: Box<[FixedStep]>,
    /// All other steps.
    steps: Box<[Step]>,
    /// Alternatives for one field, in order of preference.
    choices: Box<[Box<[Step]>]>,
    /// Labels of an MPLS stack, top first.
    mpls_labels: Box<[Step]>,
    /// Protocol and destination port, where only the port can hold ICMP's type and code (NetFlow v5 and many v9).
    icmp_from_port: Option<(Step, Step)>,
    /// Addresses, source first, where the Ethernet type is the address family of a record.
    etype_from: Option<u16>,
    /// Encoded fields that are the same in every record.
    constants: Box<[u8]>,
    sampling: RecordSampling,
    /// The reverse direction, where it becomes a record of its own.
    reverse: Option<Box<Reverse>>,
    /// When the exporter started, where records say it: ms since 1970.
    boot: Option<Step>,
    /// What fills fields otherwise than by steps.
    beside: Option<Box<Beside>>,
    /// Names that options data gives.
    named: Box<[NamedStep]>,
    /// Elements that are kept as they are.
    extras: Box<[ExtraStep]>,
    /// Whether records hold structured data.
    has_lists: bool,
    /// Whether there is anything beside steps.
    has_rare_fields: bool,
}

/// What records themselves say about their sampling.
#[derive(Debug, Default)]
struct RecordSampling {
    /// Elements that give a rate, with their ids.
    rates: Box<[(u16, Step)]>,
    /// Sampler or selector id.
    selector: Option<Step>,
    /// Where the record was observed: sampling may be by interface.
    interfaces: Interfaces,
}

/// The interfaces of a record, in order of preference.
#[derive(Debug, Default)]
struct Interfaces {
    input: Box<[Step]>,
    output: Box<[Step]>,
    direction: Option<Step>,
}

impl RecordSampling {
    fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.selector.is_none()
    }
}

impl Plan {
    /// The template it was compiled from.
    pub fn template(&self) -> &Template {
        &self.template
    }

    pub(crate) fn shared_template(&self) -> &Arc<Template> {
        &self.template
    }

    /// Octets of memory that it takes, with its template.
    pub(crate) fn octets(&self) -> usize {
        // What the allocator adds to each part.
        const PART: usize = 16;
        let steps = |steps: &[Step]| PART + size_of_val(steps);
        size_of::<Self>()
            + PART
            + size_of_val(self.template.fields())
            + PART
            + size_of_val(&*self.extras)
            + PART
            + size_of_val(&*self.fixed)
            + steps(&self.steps)
            + PART
            + size_of_val(&*self.choices)
            + self.choices.iter().map(|choice| steps(choice)).sum::<usize>()
            + steps(&self.mpls_labels)
            + PART
            + self.constants.len()
            + PART
            + size_of_val(&*self.sampling.rates)
            + steps(&self.sampling.interfaces.input)
            + steps(&self.sampling.interfaces.output)
            + PART
            + self.named.iter().map(|named| size_of_val(named) + PART + named.octets()).sum::<usize>()
            + self.beside.iter().map(|beside| PART + size_of_val(&**beside) + beside.octets()).sum::<usize>()
            + self.reverse.iter().map(|reverse| PART + reverse.octets()).sum::<usize>()
    }

    /// Whether the sampling rate that options data gives an interface is that of its records.
    pub(crate) fn is_sampled_by_interface(&self) -> bool {
        let Interfaces { input, output, .. } = &self.sampling.interfaces;
        !input.is_empty() || !output.is_empty()
    }

    /// Whether records hold structured data.
    pub(crate) fn has_lists(&self) -> bool {
        self.has_lists
    }

    /// The reverse direction of records that become two.
    #[inline]
    pub(crate) fn reverse(&self) -> Option<&Reverse> {
        self.reverse.as_deref()
    }

    /// Encoded fields that are the same in every record by this template.
    pub(crate) fn constants(&self) -> &[u8] {
        &self.constants
    }

    /// Whether records say their sampling rate, or the sampler by which it is known. Where they do not, the rate is the
    /// domain's and the same for all.
    pub(crate) fn says_sampling(&self) -> bool {
        !self.sampling.is_empty()
    }
}
