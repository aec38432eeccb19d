//! What the coordinator says over HTTP.

use catchment_serving::http::{Health, HealthStatus, Liveness, Observed};
use serde::Serialize;

use crate::replica::{Replica, Status};

/// `/health`.
#[derive(Debug, Serialize)]
pub struct Detail {
    coordinator: String,
    cluster: String,
    store: &'static str,
    version: &'static str,
    status: HealthStatus,
    ready: bool,
    #[serde(flatten)]
    health: Health,
}

impl Observed for Replica {
    type Detail = Detail;
    type Status = Status;

    /// That it answers at all says that its threads move.
    fn liveness(&self) -> Liveness {
        Liveness::Alive
    }

    fn health(&self) -> Health {
        Replica::status(self).health
    }

    fn detail(&self) -> Detail {
        let status = Replica::status(self);
        Detail {
            coordinator: status.coordinator,
            cluster: status.cluster,
            store: status.store,
            version: status.version,
            status: status.health.status(),
            ready: status.health.is_ready(),
            health: status.health,
        }
    }

    fn status(&self) -> Status {
        Replica::status(self)
    }

    fn metrics(&self) -> String {
        Replica::metrics(self).render(&Replica::status(self))
    }
}
