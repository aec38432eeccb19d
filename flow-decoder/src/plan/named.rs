//! Names of a record's interfaces, VRFs and application, as far as its exporter has told them.

use super::compile::Candidate;
use super::run::{Locate, Scene, number, octets};
use super::step::Step;
use crate::names::{NameKind, Thing};
use crate::protobuf::{FieldWriter, Tag};
use crate::record::flow;

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Interface,
    Vrf,
    Application,
}

/// Numbers and the fields for their names.
const NAMED: [(Tag, Of, Tag); 5] = [
    (flow::IN_IF, Of::Interface, flow::IN_IF_NAME),
    (flow::OUT_IF, Of::Interface, flow::OUT_IF_NAME),
    (flow::INGRESS_VRF_ID, Of::Vrf, flow::INGRESS_VRF_NAME),
    (flow::EGRESS_VRF_ID, Of::Vrf, flow::EGRESS_VRF_NAME),
    (flow::APPLICATION_ID, Of::Application, flow::APPLICATION_NAME),
];

/// A field for a name that no element fills.
#[derive(Debug)]
pub(super) struct NamedStep {
    /// Elements that say the number, in order of preference.
    steps: Box<[Step]>,
    of: Of,
    tag: Tag,
}

impl NamedStep {
    pub(super) fn all(candidates: &[Candidate]) -> Box<[Self]> {
        let filled = |tag: Tag| candidates.iter().any(|candidate| candidate.step.tag == tag);
        let free = NAMED.into_iter().filter(|(id, _, name)| filled(*id) && !filled(*name));
        free.map(|(id, of, tag)| {
            let steps = candidates.iter().filter(|candidate| candidate.step.tag == id);
            Self { steps: steps.map(|candidate| candidate.step).collect(), of, tag }
        })
        .collect()
    }

    /// Octets of memory behind it.
    pub(super) fn octets(&self) -> usize {
        size_of_val(&*self.steps)
    }

    pub(super) fn write<L: Locate>(&self, scene: &Scene<'_>, record: &L, out: &mut impl FieldWriter) {
        let values = self.steps.iter().map(|step| octets(scene, record, step));
        let Some(value) = values.into_iter().find(|value| value.iter().any(|&byte| byte != 0)) else {
            return;
        };
        let of_number = |step: &&Step| number(scene, record, step) & 0xffff_ffff;
        let first = || self.steps.iter().map(|step| of_number(&step)).find(|&number| number != 0);
        let thing = match self.of {
            Of::Application => Thing::application(value),
            Of::Interface => first().map(|index| Thing::new(NameKind::Interface, index)),
            Of::Vrf => first().map(|id| Thing::new(NameKind::Vrf, id)),
        };
        if let Some(name) = thing.and_then(|thing| scene.options.name_of(thing)) {
            out.text(self.tag, name.as_bytes());
        }
    }
}
