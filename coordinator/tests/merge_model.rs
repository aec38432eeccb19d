//! Nodes, coordinators and a store that exchange one scope over a network that delivers in any order, repeats, and loses what a
//! crash takes along: however it goes, all end with the same state, and it is the greatest that anybody heard.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use coordinator::merge::merge;
use coordinator::scope::{Announced, Field, Kind, Layout, Order, Scope, ScopeId};
use proptest::prelude::*;

const NODES: usize = 4;
const COORDINATORS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node hears an announcement.
    Learn { node: usize, template: u16, port: u16, order: Order, layout: u16 },
    /// A message on its way arrives.
    Deliver(usize),
    /// It arrives, and will again.
    DeliverTwice(usize),
    /// A node is killed: it forgets all, and begins with a snapshot of this coordinator.
    NodeCrash { node: usize, joins: usize },
    /// A coordinator is killed: it forgets all, reads the store; its nodes go to this one and send up what they know.
    CoordinatorCrash { coordinator: usize, other: usize },
    /// The store is put back to what it was at first; each coordinator notices when its watch has come that far.
    Wipe,
}

#[derive(Clone, Debug)]
enum Message {
    Up {
        coordinator: usize,
        scope: Scope,
    },
    Down {
        node: usize,
        scope: Scope,
    },
    Push {
        coordinator: usize,
        from: (usize, u32),
        scope: Scope,
    },
    Write {
        coordinator: usize,
        scope: Scope,
        expected: u64,
    },
    /// The next event of the coordinator's watch: they keep their order, and come once.
    Watch {
        coordinator: usize,
    },
}

#[derive(Clone, Debug)]
enum Event {
    Put { scope: Scope, revision: u64 },
    Wiped,
}

struct World {
    nodes: Vec<Scope>,
    sessions: Vec<usize>,
    coordinators: Vec<Scope>,
    /// Revision of the key as each coordinator last saw it, and what it held.
    seen: Vec<u64>,
    stored: Vec<Scope>,
    /// How often each was started.
    starts: Vec<u32>,
    /// Whether another coordinator writes what this one knows beyond the store.
    pledged: Vec<bool>,
    store: Scope,
    revision: u64,
    network: Vec<Message>,
    /// What each coordinator's watch has still to tell.
    watches: Vec<VecDeque<Event>>,
    /// What the live nodes and the store must come to: nothing that only a crashed one knew.
    heard: Vec<Scope>,
}

fn id() -> ScopeId {
    ScopeId { zone: "".into(), exporter: [192, 0, 2, 1].into(), version: 10, domain: 0 }
}

impl World {
    fn new() -> Self {
        let empty = Scope::empty(id());
        Self {
            nodes: vec![empty.clone(); NODES],
            sessions: (0..NODES).map(|node| node % COORDINATORS).collect(),
            coordinators: vec![empty.clone(); COORDINATORS],
            seen: vec![0; COORDINATORS],
            stored: vec![empty.clone(); COORDINATORS],
            starts: vec![0; COORDINATORS],
            pledged: vec![false; COORDINATORS],
            store: empty,
            revision: 0,
            network: vec![],
            watches: vec![VecDeque::new(); COORDINATORS],
            heard: vec![],
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Learn { node, template, port, order, layout } => {
                let mut scope = Scope::empty(id());
                scope.templates.insert((template, port), Announced { order, layout: a_layout(layout) });
                self.heard.push(scope.clone());
                if merge(&mut self.nodes[node], scope).any() {
                    self.up(node);
                }
            }
            Step::Deliver(at) if !self.network.is_empty() => {
                let message = self.network.swap_remove(at % self.network.len());
                self.deliver(message);
            }
            Step::DeliverTwice(at) if !self.network.is_empty() => {
                let message = self.network[at % self.network.len()].clone();
                if !matches!(message, Message::Watch { .. }) {
                    self.deliver(message);
                }
            }
            Step::Deliver(_) | Step::DeliverTwice(_) => {}
            Step::NodeCrash { node, joins } => {
                self.nodes[node] = Scope::empty(id());
                self.join(node, joins);
            }
            Step::CoordinatorCrash { coordinator, other } => {
                self.network.retain(|message| match message {
                    Message::Up { coordinator: at, .. }
                    | Message::Push { coordinator: at, .. }
                    | Message::Write { coordinator: at, .. }
                    | Message::Watch { coordinator: at } => *at != coordinator,
                    Message::Down { .. } => true,
                });
                self.coordinators[coordinator] = Scope::empty(id());
                self.list(coordinator);
                self.starts[coordinator] += 1;
                for other in (0..COORDINATORS).filter(|other| *other != coordinator) {
                    self.pledged[other] = false;
                    if self.is_dirty(other) {
                        self.write(other);
                    }
                }
                for node in 0..NODES {
                    if self.sessions[node] == coordinator {
                        self.join(node, other);
                    }
                }
            }
            Step::Wipe => {
                self.store = Scope::empty(id());
                self.revision += 1;
                self.tell(&Event::Wiped);
            }
        }
    }

    fn tell(&mut self, event: &Event) {
        for (coordinator, watch) in self.watches.iter_mut().enumerate() {
            watch.push_back(event.clone());
            self.network.push(Message::Watch { coordinator });
        }
    }

    /// The store is read anew, and watched from there.
    fn list(&mut self, coordinator: usize) {
        self.watches[coordinator].clear();
        self.seen[coordinator] = self.revision;
        self.stored[coordinator] = self.store.clone();
        self.pledged[coordinator] = false;
        self.take(coordinator, &self.store.clone(), self.revision);
    }

    /// A session begins: the snapshot comes, and what the node knows goes up.
    fn join(&mut self, node: usize, coordinator: usize) {
        self.sessions[node] = coordinator;
        // What was on its way in the session before ends with it.
        self.network.retain(|message| !matches!(message, Message::Down { node: to, .. } if *to == node));
        merge(&mut self.nodes[node], self.coordinators[coordinator].clone());
        self.up(node);
    }

    fn up(&mut self, node: usize) {
        let message = Message::Up { coordinator: self.sessions[node], scope: self.nodes[node].clone() };
        self.network.push(message);
    }

    fn write(&mut self, coordinator: usize) {
        let (scope, expected) = (self.coordinators[coordinator].clone(), self.seen[coordinator]);
        self.network.push(Message::Write { coordinator, scope, expected });
    }

    fn is_dirty(&self, coordinator: usize) -> bool {
        self.coordinators[coordinator] != self.stored[coordinator]
    }

    fn push(&mut self, from: usize) {
        let scope = self.coordinators[from].clone();
        let others = (0..COORDINATORS).filter(|other| *other != from);
        let from = (from, self.starts[from]);
        let message = |coordinator| Message::Push { coordinator, from, scope: scope.clone() };
        self.network.extend(others.map(message));
    }

    fn fan_out(&mut self, coordinator: usize) {
        let scope = self.coordinators[coordinator].clone();
        let nodes = (0..NODES).filter(|node| self.sessions[*node] == coordinator);
        self.network.extend(nodes.map(|node| Message::Down { node, scope: scope.clone() }));
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Up { coordinator, scope } => {
                if merge(&mut self.coordinators[coordinator], scope).any() {
                    self.pledged[coordinator] = false;
                    self.fan_out(coordinator);
                    self.push(coordinator);
                    self.write(coordinator);
                }
            }
            Message::Push { coordinator, from: (from, start), scope } => {
                let own = self.is_dirty(coordinator) && !self.pledged[coordinator];
                if merge(&mut self.coordinators[coordinator], scope).any() {
                    self.pledged[coordinator] = !own && self.starts[from] == start;
                    self.fan_out(coordinator);
                    if !self.pledged[coordinator] {
                        self.push(coordinator);
                        self.write(coordinator);
                    }
                }
            }
            Message::Down { node, scope } => {
                merge(&mut self.nodes[node], scope);
            }
            Message::Write { coordinator, scope, expected } if expected == self.revision => {
                self.store = scope;
                self.revision += 1;
                self.seen[coordinator] = self.revision;
                self.stored[coordinator] = self.store.clone();
                self.tell(&Event::Put { scope: self.store.clone(), revision: self.revision });
            }
            Message::Write { coordinator, .. } => self.take(coordinator, &self.store.clone(), self.revision),
            Message::Watch { coordinator } => match self.watches[coordinator].pop_front() {
                Some(Event::Put { scope, revision }) => self.take(coordinator, &scope, revision),
                Some(Event::Wiped) => self.list(coordinator),
                // It was listed since.
                None => {}
            },
        }
    }

    /// What the store holds is merged; where more is known, that is written.
    fn take(&mut self, coordinator: usize, scope: &Scope, revision: u64) {
        if revision >= self.seen[coordinator] {
            self.seen[coordinator] = revision;
            self.stored[coordinator] = scope.clone();
        }
        if merge(&mut self.coordinators[coordinator], scope.clone()).any() {
            self.fan_out(coordinator);
        }
        if self.coordinators[coordinator] != *scope && !self.pledged[coordinator] {
            self.write(coordinator);
        }
    }
}

fn a_layout(number: u16) -> Arc<Layout> {
    let field = |id| Field { pen: 0, id, length: 4, variable: false, scope: false };
    Arc::new(Layout { kind: Kind::Data, fields: (1..=number).map(field).collect() })
}

fn step() -> impl Strategy<Value = Step> {
    let order = (0u32..3, 0u64..4).prop_map(|(epoch, time_ms)| Order { epoch, time_ms });
    let learn =
        (0..NODES, 256u16..259, 0u16..2, order, 1u16..4).prop_map(|(node, template, port, order, layout)| {
            Step::Learn { node, template, port, order, layout }
        });
    prop_oneof![
        4 => learn,
        12 => any::<usize>().prop_map(Step::Deliver),
        2 => any::<usize>().prop_map(Step::DeliverTwice),
        1 => (0..NODES, 0..COORDINATORS).prop_map(|(node, joins)| Step::NodeCrash { node, joins }),
        1 => (0..COORDINATORS, 1..COORDINATORS).prop_map(|(coordinator, by)| {
            Step::CoordinatorCrash { coordinator, other: (coordinator + by) % COORDINATORS }
        }),
        1 => Just(Step::Wipe),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn all_end_equal(steps in prop::collection::vec(step(), 0..120), order in prop::collection::vec(any::<usize>(), 64)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        let mut delivered = 0;
        while !world.network.is_empty() {
            world.step(Step::Deliver(order[delivered % order.len()]));
            delivered += 1;
            prop_assert!(delivered < 100_000, "it never comes to rest");
        }
        for (number, node) in world.nodes.iter().enumerate() {
            prop_assert_eq!(node, &world.store, "node {}", number);
        }
        for (number, coordinator) in world.coordinators.iter().enumerate() {
            prop_assert_eq!(coordinator, &world.store, "coordinator {}", number);
        }
        // Whatever is there was heard, and nothing older won over what any live one knew.
        let mut greatest: BTreeMap<(u16, u16), &Announced> = BTreeMap::new();
        for (key, announced) in world.heard.iter().flat_map(|scope| &scope.templates) {
            let known = greatest.entry(*key).or_insert(announced);
            *known = (*known).max(announced);
        }
        for (key, announced) in &world.store.templates {
            prop_assert!(announced <= greatest[key]);
        }
    }

    #[test]
    fn without_crashes_the_greatest_of_all_wins(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        let peaceful = |step: &Step| matches!(step, Step::Learn { .. } | Step::Deliver(_) | Step::DeliverTwice(_) | Step::Wipe);
        for step in steps.into_iter().filter(peaceful) {
            world.step(step);
        }
        while !world.network.is_empty() {
            world.step(Step::Deliver(0));
        }
        let mut expected = Scope::empty(id());
        for scope in world.heard {
            merge(&mut expected, scope);
        }
        prop_assert_eq!(&world.store, &expected);
        for node in &world.nodes {
            prop_assert_eq!(node, &expected);
        }
    }
}
