//! Changing what answers, while it answers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use mlops_core::{Error, ModelVersion, Result, Severity};

use super::deployment::{ArmSpec, Deployment};
use super::ledger::Admin;
use super::traffic::{ArmStats, ArmTraffic};
use super::{Endpoint, Model, Shadow};
use crate::{CHALLENGER, CHAMPION};

impl Endpoint {
    /// Replaces all arms at once. The first one answers for those that fail. No arms: the endpoint answers nothing
    /// any more. As every change, one that changes nothing swaps and tells nothing.
    ///
    /// # Errors
    /// `Invalid` if names are not unique or weights are no weights. The arms are as before then.
    pub fn set_arms(&self, arms: Vec<ArmSpec>) -> Result<()> {
        self.change(|_| Ok(arms))
    }

    /// Replaces the model of the champion; the first model of an endpoint becomes its champion. Other arms
    /// stay.
    ///
    /// # Errors
    /// `Invalid` if the endpoint has arms and none is the champion, or the champion takes rows of another
    /// width: callers would have to change with it. [`set_arms`](Self::set_arms) deploys it all the same.
    pub fn deploy(&self, model: Arc<Model>) -> Result<()> {
        self.change(|mut arms| {
            self.check_width(&arms, &model)?;
            if arms.is_empty() {
                arms.push(ArmSpec::new(CHAMPION, Arc::clone(&model), 1.0));
            }
            let champion = arms.iter_mut().find(|arm| arm.name == CHAMPION);
            champion.ok_or_else(|| self.no_arm(CHAMPION))?.model = model;
            Ok(arms)
        })
    }

    /// Gives a share of the traffic, in [0, 1], to a challenger and the rest to the champion. A challenger
    /// that is there already is replaced, other arms are removed.
    ///
    /// # Errors
    /// `Invalid` if there is no champion, it takes rows of another width (no row fits both), or the share is
    /// not within [0, 1].
    pub fn challenge(&self, model: Arc<Model>, share: f64) -> Result<()> {
        self.change(|arms| {
            self.check_width(&arms, &model)?;
            self.two_arms(&arms, model, share)
        })
    }

    /// As [`challenge`](Self::challenge), if nothing is on trial. Gives whether that was so.
    pub(super) fn offer(&self, model: Arc<Model>, share: f64) -> Result<bool> {
        let mut is_free = true;
        self.change(|arms| {
            is_free = arms.len() < 2;
            if !is_free {
                return Ok(arms);
            }
            self.check_width(&arms, &model)?;
            self.two_arms(&arms, model, share)
        })?;
        Ok(is_free)
    }

    /// Sets the challenger's share of the traffic, in [0, 1].
    ///
    /// # Errors
    /// `Invalid` if there is no challenger or no champion, or the share is not within [0, 1].
    pub fn set_challenger_share(&self, share: f64) -> Result<()> {
        self.change(|arms| {
            let challenger = self.model_of(&arms, CHALLENGER)?;
            self.two_arms(&arms, challenger, share)
        })
    }

    /// Makes the challenger the champion and the only arm.
    ///
    /// # Errors
    /// `Invalid` if there is no challenger.
    pub fn promote(&self) -> Result<()> {
        self.change(|arms| Ok(vec![ArmSpec::new(CHAMPION, self.model_of(&arms, CHALLENGER)?, 1.0)]))
    }

    /// Makes the champion the only arm.
    ///
    /// # Errors
    /// `Invalid` if there is no champion.
    pub fn roll_back(&self) -> Result<()> {
        self.change(|arms| Ok(vec![ArmSpec::new(CHAMPION, self.model_of(&arms, CHAMPION)?, 1.0)]))
    }

    /// Sets the shadows, which see what is answered from now on.
    ///
    /// # Errors
    /// `Invalid` if the endpoint has no arms yet.
    pub fn set_shadows(&self, shadows: Vec<Arc<Shadow>>) -> Result<()> {
        if !self.is_ready() {
            return Err(self.no_arm(CHAMPION));
        }
        self.swap(Ok, Some(shadows))
    }

    /// The versions in quarantine: they failed in every try, and are not deployed again.
    pub fn quarantined(&self) -> Vec<ModelVersion> {
        let mut admin = self.admin();
        self.see_quarantined(&mut admin);
        admin.quarantine.iter().cloned().collect()
    }

    /// Takes a version out of quarantine.
    pub fn release(&self, version: &ModelVersion) {
        let mut admin = self.admin();
        admin.quarantine.remove(version);
        for arm in self.arms().iter().filter(|arm| arm.model.version() == version) {
            arm.model.health.reset();
        }
    }

    /// Takes out what each arm answered since the last call: feed it to
    /// [`Rollout::add_traffic`](crate::rollout::Rollout::add_traffic).
    pub fn take_traffic(&self) -> Vec<ArmTraffic> {
        let mut admin = self.admin();
        admin.count();
        std::mem::take(&mut admin.settled)
    }

    /// What each version answered in each arm since the endpoint began, and why it failed last, for dashboards
    /// and to find out why a challenger does not get through. Takes nothing away from
    /// [`take_traffic`](Self::take_traffic). The last 64 are kept apart, older ones are one sum of their arm,
    /// under version 0.
    pub fn stats(&self) -> Vec<ArmStats> {
        let mut admin = self.admin();
        admin.count();
        admin.totals.clone()
    }

    /// Requests whose deadline had passed before a model could be asked, since the endpoint began. They count for no arm.
    pub fn late_requests(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Publishes the arms. Gives the number of swapped sets of arms in use, and of versions in quarantine.
    #[cfg(feature = "telemetry")]
    pub(crate) fn publish_arms(&self) -> (usize, usize) {
        let mut admin = self.admin();
        admin.count();
        self.see_quarantined(&mut admin);
        let current = self.current.load();
        let now = |slot: &super::deployment::Slot| crate::telemetry::ArmNow {
            arm: slot.origin.arm.clone(),
            version: slot.origin.version.clone(),
            share: slot.origin.propensity,
            bytes: slot.model.memory_usage(),
            is_out_of_service: !slot.model.health.is_in_service(&self.health),
        };
        let arms = current.iter().flat_map(|current| &current.arms).map(now).collect();
        admin.published.publish(&self.name, arms);
        (admin.retired.len(), admin.quarantine.len())
    }

    #[cfg(feature = "telemetry")]
    pub(crate) fn shadows(&self) -> Vec<Arc<Shadow>> {
        self.current.load().iter().flat_map(|current| current.shadows.clone()).collect()
    }

    #[cfg(feature = "telemetry")]
    pub(crate) fn capture(&self) -> Option<&Arc<crate::capture::Capture>> {
        self.capture.as_ref()
    }

    /// Drops the versions that were swapped out and that no request uses any more. Gives how many swapped
    /// sets of arms are still in use. Every change does this too, also one that changes nothing.
    pub fn reap(&self) -> usize {
        let mut admin = self.admin();
        let done = self.settle(&mut admin);
        let left = admin.retired.len();
        drop(admin);
        self.drop_drained(done);
        left
    }

    pub(super) fn change(&self, change: impl FnOnce(Vec<ArmSpec>) -> Result<Vec<ArmSpec>>) -> Result<()> {
        self.swap(change, None)
    }

    fn swap(
        &self,
        change: impl FnOnce(Vec<ArmSpec>) -> Result<Vec<ArmSpec>>,
        shadows: Option<Vec<Arc<Shadow>>>,
    ) -> Result<()> {
        let mut admin = self.admin();
        self.see_quarantined(&mut admin);
        let old = self.current.load_full();
        let arms = change(old.as_ref().map_or_else(Vec::new, |deployment| deployment.specs()))?;
        let is_new = |arm: &&ArmSpec| {
            !old.iter().flat_map(|old| &old.arms).any(|old| Arc::ptr_eq(&old.model, &arm.model))
        };
        let versions = arms.iter().filter(is_new).map(|arm| arm.model.version());
        if let Some(version) = versions.into_iter().find(|version| admin.quarantine.contains(version)) {
            return Err(Error::invalid(format!(
                "{version} is in quarantine after its failures: release it first"
            )));
        }
        let doubts: Vec<(String, String)> = arms
            .iter()
            .filter(is_new)
            .filter_map(|arm| Some((arm.model.version().to_string(), arm.model.doubt.clone()?)))
            .collect();
        let has_shadows = shadows.is_some();
        let shadows = shadows.or_else(|| old.as_ref().map(|old| old.shadows.clone())).unwrap_or_default();
        let previous = match (&old, arms.first()) {
            (Some(old), Some(first)) if self.keep_previous => {
                match Arc::ptr_eq(&old.arms[0].model, &first.model) {
                    true => old.previous.clone(),
                    false => Some(Arc::clone(&old.arms[0].model)),
                }
            }
            _ => None,
        };
        let next = match arms.is_empty() {
            true => None,
            false => Some(Arc::new(Deployment::new(&self.salt, arms, previous, shadows)?)),
        };
        if !has_shadows && old.as_deref().zip(next.as_deref()).is_some_and(|(old, next)| old.is_like(next)) {
            let done = self.settle(&mut admin);
            drop(admin);
            self.drop_drained(done);
            return Ok(());
        }
        for slot in next.iter().flat_map(|deployment| &deployment.arms) {
            admin.ledgers.push((Arc::clone(&slot.origin), Arc::clone(&slot.counters)));
        }
        drop(old);
        // Whoever still reads the old deployment owns a share of it when `swap` returns.
        let told = next.as_deref().map_or_else(|| "has no model any more".into(), Deployment::describe);
        admin.retired.extend(self.current.swap(next));
        let done = self.settle(&mut admin);
        drop(admin);
        self.tell(Severity::Info, format!("endpoint `{}`", self.name), told);
        for (version, doubt) in doubts {
            self.tell(Severity::Warning, version, doubt);
        }
        self.drop_drained(done);
        Ok(())
    }

    /// Takes out the deployments that nobody uses, and the models among them that answer nowhere any more.
    fn settle(&self, admin: &mut Admin) -> (Vec<Arc<Deployment>>, Vec<ModelVersion>) {
        let done = admin.settle();
        if done.is_empty() {
            return Default::default();
        }
        let current = self.current.load();
        let used: Vec<&Arc<Model>> = current.iter().flat_map(|current| current.models()).collect();
        let mut gone: Vec<&Arc<Model>> = Vec::new();
        for model in done.iter().flat_map(|deployment| deployment.models()) {
            if !used.iter().chain(&gone).any(|known| Arc::ptr_eq(known, model)) {
                gone.push(model);
            }
        }
        let gone = gone.into_iter().map(|model| model.version().clone()).collect();
        (done, gone)
    }

    /// Drops what nobody uses any more. It takes time: not under the lock.
    fn drop_drained(&self, (done, gone): (Vec<Arc<Deployment>>, Vec<ModelVersion>)) {
        drop(done);
        for version in gone {
            self.tell(Severity::Info, version.to_string(), "is drained: its last request is done".into());
        }
    }

    fn see_quarantined(&self, admin: &mut Admin) {
        let current = self.current.load();
        let slots = current.iter().flat_map(|deployment| &deployment.arms);
        let bad = slots.filter(|slot| slot.model.health.is_quarantined(&self.health));
        admin.quarantine.extend(bad.map(|slot| slot.model.version().clone()));
    }

    fn check_width(&self, arms: &[ArmSpec], model: &Model) -> Result<()> {
        let champion = arms.iter().find(|arm| arm.name == CHAMPION).map(|arm| &arm.model);
        let Some(champion) = champion else { return Ok(()) };
        match (model.cells(), champion.cells()) {
            (Some(new), Some(old)) if new != old => Err(Error::invalid(format!(
                "{} takes rows of {new} cells, the champion {} of {old}: use an endpoint of its own, or \
                 `set_arms` if all callers change at once",
                model.version(),
                champion.version()
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn two_arms(
        &self,
        arms: &[ArmSpec],
        challenger: Arc<Model>,
        share: f64,
    ) -> Result<Vec<ArmSpec>> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::invalid(format!("the challenger's share is {share}: want 0 to 1")));
        }
        let champion = self.model_of(arms, CHAMPION)?;
        let champion = ArmSpec::new(CHAMPION, champion, 1.0 - share);
        Ok(vec![champion, ArmSpec::new(CHALLENGER, challenger, share)])
    }

    fn model_of(&self, arms: &[ArmSpec], name: &str) -> Result<Arc<Model>> {
        let arm = arms.iter().find(|arm| arm.name == name);
        arm.map(|arm| Arc::clone(&arm.model)).ok_or_else(|| self.no_arm(name))
    }

    fn no_arm(&self, name: &str) -> Error {
        let call = if name == CHALLENGER { "challenge" } else { "deploy" };
        Error::invalid(format!("endpoint `{}` has no arm `{name}`: give one to `{call}` first", self.name))
    }

    fn admin(&self) -> MutexGuard<'_, Admin> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
