//! What the live screen shows now: the last look, and what the person at the terminal chose.

use std::collections::VecDeque;

use super::keys::Wish;
use super::look::{Look, NodeLook};
use crate::describe::lost;
use crate::fault::Fault;

/// Looks kept for the curve.
const HISTORY: usize = 240;

/// How nodes are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Name,
    Records,
    Lost,
    Cpu,
}

impl Order {
    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Order::Name => "name",
            Order::Records => "records/s",
            Order::Lost => "lost",
            Order::Cpu => "CPU",
        }
    }

    fn next(self) -> Self {
        match self {
            Order::Name => Order::Records,
            Order::Records => Order::Lost,
            Order::Lost => Order::Cpu,
            Order::Cpu => Order::Name,
        }
    }
}

/// The screen.
#[derive(Debug)]
pub(super) struct State {
    /// The last look.
    pub(super) look: Look,
    /// Records a second of past looks, the oldest first.
    pub(super) history: VecDeque<u64>,
    /// How nodes are ordered.
    pub(super) order: Order,
    /// The node whose exporters are shown; none: all.
    pub(super) chosen: Option<String>,
    /// Whether the picture is held.
    pub(super) paused: bool,
    /// Why there is no newer look.
    pub(super) fault: Option<String>,
}

impl State {
    /// After the first look.
    pub(super) fn new(look: Look) -> Self {
        let mut state = Self {
            look: Look::default(),
            history: VecDeque::new(),
            order: Order::default(),
            chosen: None,
            paused: false,
            fault: None,
        };
        state.take(Ok(look));
        state
    }

    /// Takes a new look, unless the picture is held.
    pub(super) fn take(&mut self, look: Result<Look, Fault>) {
        match look {
            Err(fault) => self.fault = Some(fault.to_string()),
            Ok(look) => {
                self.fault = None;
                if self.paused {
                    return;
                }
                if self.history.len() == HISTORY {
                    self.history.pop_front();
                }
                self.history.push_back(look.rates().0.round() as u64);
                self.look = look;
                let there = |name: &String| self.look.nodes.iter().any(|node| node.node.id == *name);
                self.chosen = self.chosen.take().filter(there);
            }
        }
    }

    /// Does what a key asks for.
    pub(super) fn apply(&mut self, wish: Wish) {
        match wish {
            Wish::Pause => self.paused = !self.paused,
            Wish::Sort => self.order = self.order.next(),
            Wish::Up => self.choose(|at| at.and_then(|at| at.checked_sub(1))),
            Wish::Down => self.choose(|at| Some(at.map_or(0, |at| at + 1))),
            Wish::Redraw | Wish::End => {}
        }
    }

    /// The nodes in their order.
    pub(super) fn nodes(&self) -> Vec<&NodeLook> {
        let mut nodes: Vec<&NodeLook> = self.look.nodes.iter().collect();
        let losses = |node: &NodeLook| {
            let (datagrams, records) = node.node.statistics.as_ref().map_or((0, 0), lost);
            datagrams.saturating_add(records)
        };
        match self.order {
            Order::Name => nodes.sort_by(|one, two| one.node.id.cmp(&two.node.id)),
            Order::Records => {
                nodes.sort_by(|one, two| two.node.records_per_second.total_cmp(&one.node.records_per_second));
            }
            Order::Lost => nodes.sort_by_key(|node| std::cmp::Reverse(losses(node))),
            Order::Cpu => nodes.sort_by(|one, two| two.cpu.unwrap_or(0.0).total_cmp(&one.cpu.unwrap_or(0.0))),
        }
        nodes
    }

    /// Place of the chosen node.
    pub(super) fn chosen_at(&self) -> Option<usize> {
        let name = self.chosen.as_ref()?;
        self.nodes().iter().position(|node| node.node.id == *name)
    }

    fn choose(&mut self, step: impl FnOnce(Option<usize>) -> Option<usize>) {
        let last = self.look.nodes.len().checked_sub(1);
        let at = step(self.chosen_at()).and_then(|at| Some(at.min(last?)));
        self.chosen = at.map(|at| self.nodes()[at].node.id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::look::tests::sample_look;

    fn names(state: &State) -> Vec<&str> {
        state.nodes().iter().map(|node| node.node.id.as_str()).collect()
    }

    #[test]
    fn arrows_choose_and_s_sorts() {
        let mut state = State::new(sample_look());
        assert_eq!(state.chosen_at(), None);
        for (wish, chosen) in [
            (Wish::Down, Some("node-1")),
            (Wish::Down, Some("node-2")),
            (Wish::Up, Some("node-1")),
            (Wish::Up, None),
        ] {
            state.apply(wish);
            assert_eq!(state.chosen.as_deref(), chosen);
        }
        for _ in 0..9 {
            state.apply(Wish::Down);
        }
        assert_eq!(state.chosen.as_deref(), Some("node-3"), "the last one");
        state.look.nodes[1].node.records_per_second = 1e9;
        state.apply(Wish::Sort);
        assert_eq!(names(&state), ["node-2", "node-1", "node-3"]);
        assert_eq!(state.chosen.as_deref(), Some("node-3"), "the choice goes with the node");
        state.apply(Wish::Sort);
        assert_eq!(state.order.name(), "lost");
        assert_eq!(names(&state)[0], "node-1");
    }

    #[test]
    fn a_held_picture_does_not_change_and_a_fault_keeps_the_last_look() {
        let mut state = State::new(sample_look());
        state.apply(Wish::Pause);
        state.take(Ok(Look::default()));
        assert_eq!(state.look.nodes.len(), 3);
        state.apply(Wish::Pause);
        state.take(Err(Fault::Unreachable("http://c:7400: gone".to_owned())));
        assert_eq!((state.look.nodes.len(), state.fault.as_deref()), (3, Some("http://c:7400: gone")));
        state.apply(Wish::Down);
        state.take(Ok(Look::default()));
        assert_eq!((state.look.nodes.len(), state.chosen, state.fault), (0, None, None), "the node has gone");
    }

    #[test]
    fn an_empty_cluster_has_nothing_to_choose() {
        let mut state = State::new(Look::default());
        state.apply(Wish::Down);
        state.apply(Wish::Up);
        assert_eq!(state.chosen, None);
    }
}
