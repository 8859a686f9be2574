//! What an endpoint keeps beside what answers: arms that were swapped out, and what all of them counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use mlops_core::ModelVersion;

use super::deployment::{Counters, Deployment, Origin};
use super::traffic::{ArmStats, ArmTraffic, add_stats, add_traffic};
use crate::sync::is_alone;

#[derive(Debug, Default)]
pub(super) struct Admin {
    /// Swapped out, perhaps still in use.
    pub(super) retired: Vec<Arc<Deployment>>,
    /// What the arms of this deployment and of retired ones count.
    pub(super) ledgers: Vec<(Arc<Origin>, Arc<Counters>)>,
    /// What arms counted that nobody has taken yet.
    pub(super) settled: Vec<ArmTraffic>,
    /// What versions counted since the endpoint began.
    pub(super) totals: Vec<ArmStats>,
    /// Versions that are not deployed again.
    pub(super) quarantine: BTreeSet<ModelVersion>,
    #[cfg(feature = "telemetry")]
    pub(super) published: crate::telemetry::Published,
}

impl Admin {
    /// Takes out the deployments that nobody uses, and keeps what their arms counted.
    pub(super) fn settle(&mut self) -> Vec<Arc<Deployment>> {
        let (done, used) =
            std::mem::take(&mut self.retired).into_iter().partition(|old| is_alone(Arc::strong_count(old)));
        self.retired = used;
        let done: Vec<Arc<Deployment>> = done;
        for slot in done.iter().flat_map(|deployment| &deployment.arms) {
            self.add(&slot.origin, &slot.counters);
            self.ledgers.retain(|(_, counters)| !Arc::ptr_eq(counters, &slot.counters));
        }
        done
    }

    /// Fetches what the arms counted.
    pub(super) fn count(&mut self) {
        let ledgers = std::mem::take(&mut self.ledgers);
        ledgers.iter().for_each(|(origin, counters)| self.add(origin, counters));
        self.ledgers = ledgers;
    }

    fn add(&mut self, origin: &Origin, counters: &Counters) {
        let traffic = counters.take();
        if traffic.requests > 0 {
            let stats = ArmStats {
                arm: origin.arm.clone(),
                version: origin.version.clone(),
                traffic: traffic.clone(),
                last_failure: counters.take_failure(),
            };
            #[cfg(feature = "telemetry")]
            add_stats(&mut self.published.stats, stats.clone());
            add_stats(&mut self.totals, stats);
            add_traffic(&mut self.settled, origin, traffic);
        }
    }
}
