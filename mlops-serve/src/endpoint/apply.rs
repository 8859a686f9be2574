//! Making the split what a rollout or an experiment says.

use mlops_core::{Error, ModelVersion, Result};

use super::{ArmSpec, Endpoint};
use crate::rollout::experiment::{self, Experiment};
use crate::rollout::{Rollout, Status};
use crate::{CHALLENGER, CHAMPION};

impl Endpoint {
    /// Makes the split what the rollout says: the share of its step, all to the challenger, or all to the
    /// champion. Idempotent, so that it may be repeated after a restart.
    ///
    /// # Errors
    /// `Invalid` if the versions in the arms are not those of the rollout, and the arms are as before. A
    /// champion that is neither of the two came by another way, as a hotfix does: drop the rollout, which
    /// compared with what no longer answers, and start another. So it is with another challenger, which is not
    /// removed by the end of a trial that was not its own.
    pub fn apply(&self, rollout: &Rollout) -> Result<()> {
        self.change(|arms| {
            let held = Held { endpoint: self.name(), arms: &arms };
            let champion = held.find(CHAMPION, rollout.champion());
            let challenger = held.find(CHALLENGER, rollout.challenger());
            let is_of_another = challenger.is_err() && arms.iter().any(|arm| arm.name == CHALLENGER);
            match rollout.status() {
                _ if is_of_another => challenger.map(lone),
                Status::Running => {
                    champion?;
                    self.two_arms(&arms, challenger?.model, rollout.challenger_weight())
                }
                Status::Promoted => held.promoted(champion, challenger, rollout.challenger()),
                Status::RolledBack => champion.map(lone),
            }
        })
    }

    /// Makes the split what the experiment says: the shares of the variants that run, or all to the one that it
    /// ended with, as the champion. Idempotent, so that it may be repeated after a restart.
    ///
    /// Its arms must be there: begin with [`set_arms`](Self::set_arms), the control first at weight 1 and the others
    /// at 0, so that those that were stopped before a restart get nothing meanwhile.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_experiment(&self, experiment: &Experiment) -> Result<()> {
        self.change(|arms| {
            let held = Held { endpoint: self.name(), arms: &arms };
            let find = |variant: &experiment::Variant| held.find(&variant.name, &variant.version);
            let control = find(&experiment.variants()[0]);
            match experiment.status() {
                experiment::Status::Running => {
                    let running = experiment.shares().filter(|(_, share)| *share > 0.0);
                    running.map(|(variant, weight)| Ok(ArmSpec { weight, ..find(variant)? })).collect()
                }
                experiment::Status::Promoted { arm } => {
                    let winner = experiment.variants().iter().find(|variant| variant.name == *arm);
                    let winner = winner.unwrap_or(&experiment.variants()[0]);
                    held.promoted(control, find(winner), &winner.version)
                }
                experiment::Status::ControlKept => control.map(lone),
            }
        })
    }
}

/// The arms of an endpoint.
struct Held<'a> {
    endpoint: &'a str,
    arms: &'a [ArmSpec],
}

impl Held<'_> {
    fn find(&self, name: &str, version: &ModelVersion) -> Result<ArmSpec> {
        let endpoint = self.endpoint;
        Err(Error::invalid(match self.arms.iter().find(|arm| arm.name == name) {
            Some(arm) if arm.model.version() == version => return Ok(arm.clone()),
            Some(arm) => format!(
                "arm `{name}` of `{endpoint}` holds {}, not {version}: drop the rollout or experiment, or set the \
                 arms back first",
                arm.model.version()
            ),
            None => {
                let call = match name {
                    CHAMPION => "deploy",
                    CHALLENGER => "challenge",
                    _ => "set_arms",
                };
                format!("`{endpoint}` has no arm `{name}`: load {version} and give it to `{call}` first")
            }
        }))
    }

    /// The winner alone, as the champion. It may be the champion by now: of an earlier call, or of a follower.
    fn promoted(
        &self,
        champion: Result<ArmSpec>,
        winner: Result<ArmSpec>,
        version: &ModelVersion,
    ) -> Result<Vec<ArmSpec>> {
        self.find(CHAMPION, version).or_else(|_| champion.and(winner)).map(lone)
    }
}

fn lone(arm: ArmSpec) -> Vec<ArmSpec> {
    vec![ArmSpec::new(CHAMPION, arm.model, 1.0)]
}
