//! Policies that change: which of them judges a commit, and whom a new one would strand.

use mlops_core::{Error, Result};

use super::{Model, Snapshot, Version};
use crate::{Change, Policy};

impl Model {
    /// The stage that a version of it is in: one that was registered before the model had stages counts as in the
    /// first. `None` if it is in none: a version keeps its stage when the stages of the model are taken away.
    pub fn stage_of<'a>(&'a self, version: &'a Version) -> Option<&'a str> {
        let first = || self.policy.stages.as_ref().map(|stages| stages.first.as_str());
        version.stage.as_deref().or_else(first)
    }
}

impl Snapshot {
    /// Whether the policy that was in force before a commit is the one that judges a change of it.
    ///
    /// Whoever could bring a policy along with the review or the move that it judges would need nobody's consent, and
    /// nobody who watches the log for policies could step in before.
    pub(super) fn check_in_force(&self, before: &Self, change: &Change) -> Result<()> {
        let Some(name) = change.model() else { return Ok(()) };
        let (Some(now), Some(before)) = (self.known(name), before.known(self.first_name(name))) else {
            return Ok(());
        };
        let (now, before) = (&now.policy, &before.policy);
        let judged_by_another = match change {
            Change::Review { .. } | Change::MoveStage { .. } | Change::MoveAlias { to: Some(_), .. } => {
                now != before
            }
            Change::Register(_) => now.stages != before.stages,
            _ => false,
        };
        if judged_by_another {
            return Err(Error::conflict(format!(
                "the commit cannot set the policy of `{name}` and then {change}: what a policy judges is judged by the \
                 one that was in force before; commit the policy first, by itself"
            )));
        }
        Ok(())
    }

    /// Whether the stages of a new policy name those that versions of the model are in, and none that no version can
    /// ever be in. Deleted versions count, since they may come back. Stages that the model has already stay as good as
    /// they were: the last version may have left one that only leads out.
    pub(super) fn check_stages(&self, name: &str, policy: &Policy) -> Result<()> {
        let Some(stages) = &policy.stages else { return Ok(()) };
        let known = self.known(name);
        let versions = known.map_or(&[][..], |model| &model.versions);
        let versions = || versions.iter().filter(|version| version.purged.is_none());
        let is_stranded = |stage: &str| {
            let named = |(from, to): (&String, &std::collections::BTreeSet<String>)| {
                from == stage || to.contains(stage)
            };
            stages.first != stage && !stages.transitions.iter().any(named)
        };
        let stranded: Vec<_> =
            versions().filter(|version| version.stage.as_deref().is_some_and(is_stranded)).collect();
        let Some(first) = stranded.first() else {
            if known.is_some_and(|model| model.policy.stages == policy.stages) {
                return Ok(());
            }
            let occupied = versions().filter_map(|version| version.stage.as_deref()).collect();
            let Some(stage) = stages.unreachable(occupied) else { return Ok(()) };
            return Err(Error::invalid(format!(
                "stage `{}` of `{name}` can never be reached from `{}`: allow a move to it, or leave it out",
                stage.escape_debug(),
                stages.first.escape_debug()
            )));
        };
        let stage = first.stage.as_deref().unwrap_or_default();
        let more = match stranded.len() - 1 {
            0 => String::new(),
            more => format!(" ({more} more are in such stages)"),
        };
        Err(Error::conflict(format!(
            "the new stages of `{name}` do not name `{stage}`, in which {} is{more}: allow a move from there, as in \
             `.allow(\"{stage}\", \"{}\")`, or move it first",
            first.id(),
            stages.first
        )))
    }
}
