//! What arms counted, kept in few sums.

use mlops_core::ModelVersion;

use super::Origin;
use crate::rollout::Traffic;

/// What one arm answered while it had one version and one propensity.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ArmTraffic {
    /// The name of the arm.
    pub arm: String,
    /// The version that was in it.
    pub version: ModelVersion,
    /// The probability with which requests fell into it. NaN, with version 0, for what was counted so many
    /// changes ago that it is kept as one sum: fetch the traffic more often.
    pub propensity: f64,
    /// What it answered.
    pub traffic: Traffic,
}

/// What one version answered in one arm since its endpoint began, at whatever propensity.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ArmStats {
    /// The name of the arm.
    pub arm: String,
    /// The version that was in it; 0 for the sum of older ones.
    pub version: ModelVersion,
    /// What it answered.
    pub traffic: Traffic,
    /// Why the model failed last, if it did: the error with its causes.
    pub last_failure: Option<String>,
}

/// The most sums that are kept apart, beside one more for each arm.
const SETTLED_MAX: usize = 64;

pub(super) fn add_traffic(taken: &mut Vec<ArmTraffic>, origin: &Origin, traffic: Traffic) {
    let Origin { arm, version, propensity, .. } = origin;
    let same = |known: &&mut ArmTraffic| {
        known.arm == *arm && known.version == *version && known.propensity == *propensity
    };
    if let Some(known) = taken.iter_mut().find(same) {
        return known.traffic.merge(&traffic);
    }
    let (arm, version) = (arm.clone(), version.clone());
    taken.push(ArmTraffic { arm, version, propensity: *propensity, traffic });
    // Nobody fetches them: the oldest goes into the sum of its arm, where no rollout looks for it.
    let (sums, apart): (Vec<_>, Vec<_>) =
        (0..taken.len()).partition(|place| taken[*place].propensity.is_nan());
    if apart.len() > SETTLED_MAX {
        let oldest = taken.remove(apart[0]);
        let sum = sums.into_iter().map(|place| if place > apart[0] { place - 1 } else { place });
        match sum.into_iter().find(|place| taken[*place].arm == oldest.arm) {
            Some(place) => taken[place].traffic.merge(&oldest.traffic),
            None => {
                let version = ModelVersion::new(oldest.version.name, 0);
                taken.push(ArmTraffic { version, propensity: f64::NAN, ..oldest });
            }
        }
    }
}

pub(super) fn add_stats(totals: &mut Vec<ArmStats>, stats: ArmStats) {
    let same = |known: &&mut ArmStats| known.arm == stats.arm && known.version == stats.version;
    if let Some(known) = totals.iter_mut().find(same) {
        known.last_failure = stats.last_failure.or(known.last_failure.take());
        return known.traffic.merge(&stats.traffic);
    }
    totals.push(stats);
    let is_apart = |stats: &ArmStats| stats.version.version != 0;
    if totals.iter().filter(|stats| is_apart(stats)).count() > SETTLED_MAX
        && let Some(place) = totals.iter().position(is_apart)
    {
        let oldest = totals.remove(place);
        let version = ModelVersion::new(oldest.version.name.clone(), 0);
        add_stats(totals, ArmStats { version, ..oldest });
    }
}
