//! The coordinator: a stateless replica over etcd that shares templates and options state between the nodes of a cluster,
//! keeps their registry, and lets people steer them.
//!
//! ```text
//! nodes --NodeSession--> session --learned--> store (merge, limits) --compare-and-swap--> etcd
//!                           ^                                                              |
//!                           +------------- deltas ------ view <------ reflector <--watch---+
//! people --ClusterAdmin--> admin --desired state, configuration--> etcd
//! ```

#![forbid(unsafe_code)]
