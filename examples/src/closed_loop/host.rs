//! The host application: a year of training, serving and deciding.

use std::sync::Arc;

use mlops_core::data::{Role, TableSchema};
use mlops_core::{Error, ModelVersion, Result, Seed};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, Expect};
use mlops_serve::rollout::Status;
use mlops_serve::{CHALLENGER, CHAMPION};

use super::calendar::{ShopClock, month_start};
use super::month::{Ended, Shift};
use super::options::Options;
use super::runtime::Runtimes;
use super::state::{LoopState, StateFolder, Watch};
use super::story::Story;
use super::summary::{Move, Registered, Summary};
use super::training::{MODEL, MonthKey};
use super::{state, trial, watch};
use crate::shop::{self, MONTHS, SessionLog, Simulator, Traffic};

/// Months of the first year that are history: the first model is trained on them.
pub(super) const HISTORY_MONTHS: usize = 2;

/// Runs the rest of a year, or a new one if the state folder has seen its end.
///
/// # Errors
/// Whatever is wrong with the options, the data or the state folder, in one line that says what to do. The
/// state folder can be opened again afterwards.
pub fn run(options: &Options, story: &mut Story<'_>) -> Result<Summary> {
    // What can be wrong with the call is found out before the state folder is touched.
    let traffic = traffic(options)?;
    let runtimes = Runtimes::new(options)?;
    if let Some(path) = &options.json {
        state::can_write(path)?;
    }
    let folder = StateFolder::open(&options.state)?;
    let clock = ShopClock::new();
    let registry = Arc::new(folder.registry(&clock)?);
    let folder = Arc::new(folder);
    let mut shop = Loop {
        seed: Seed::new(options.seed),
        schema: training_schema()?,
        traffic,
        runtimes,
        folder,
        clock,
        registry,
        story,
    };
    let mut state = shop.run()?;
    if let Some(path) = &options.json {
        let json = serde_json::to_vec_pretty(&state.summary.report())
            .map_err(|error| Error::internal("the summary cannot be written as JSON").with_source(error))?;
        state::write_whole(path, &json).map_err(|error| {
            let path = path.display();
            Error::unavailable(format!(
                "cannot write `{path}`: run again with another --json, the year is done"
            ))
            .with_source(error)
        })?;
    }
    state.reported = true;
    shop.folder.save(&state)?;
    Ok(state.summary)
}

fn traffic(options: &Options) -> Result<Arc<dyn Traffic>> {
    Ok(match &options.data {
        Some(path) => Arc::new(SessionLog::open(path)?),
        None => Arc::new(Simulator::new(Seed::new(options.seed), options.sessions as usize)),
    })
}

/// The features and the label of a session.
fn training_schema() -> Result<TableSchema> {
    let wanted = |column: &mlops_core::data::Column| matches!(column.role, Role::Feature | Role::Label);
    TableSchema::new(shop::schema()?.columns().iter().filter(|column| wanted(column)).cloned())
}

pub(super) struct Loop<'a, 'b> {
    pub(super) seed: Seed,
    pub(super) schema: TableSchema,
    pub(super) traffic: Arc<dyn Traffic>,
    pub(super) runtimes: Runtimes,
    pub(super) folder: Arc<StateFolder>,
    pub(super) clock: ShopClock,
    pub(super) registry: Arc<Registry>,
    pub(super) story: &'a mut Story<'b>,
}

impl Loop<'_, '_> {
    fn run(&mut self) -> Result<LoopState> {
        let months = self.traffic.months();
        self.story.begin(&self.traffic.describe());
        let mut state = self.enter(&months)?;
        while let Some(number) = months.get(state.next) {
            self.month(&mut state, *number)?;
            state.next += 1;
            self.folder.save(&state)?;
        }
        self.story.end(&state.summary, &self.registry.history(1, usize::MAX)?);
        Ok(state)
    }

    /// Where to go on: after the last month that was closed, at the start of the next year, or at the very
    /// beginning with a first model.
    fn enter(&mut self, months: &[usize]) -> Result<LoopState> {
        let (source, traffic) = (self.traffic.describe(), self.traffic.fingerprint());
        let Some(mut state) = self.folder.load()? else {
            let champion = self.first_champion(months)?;
            let epoch = self.end_stale_trial()?;
            let summary = Summary { source, seed: self.seed.value(), ..Summary::default() };
            let mut state = LoopState::new(traffic, epoch, champion, HISTORY_MONTHS, summary)?;
            state.summary.versions = self.registered();
            self.folder.save(&state)?;
            return Ok(state);
        };
        let Summary { source: old, seed, .. } = &state.summary;
        if state.traffic != traffic || *seed != self.seed.value() {
            return Err(Error::invalid(format!(
                "the state folder holds a run on {old} with seed {seed}, this is one on {source} with seed {} \
                 (fingerprints {} and {}): give another folder with --state",
                self.seed.value(),
                state.traffic.short(),
                traffic.short()
            )));
        }
        if state.next >= months.len() && !state.reported {
            return Ok(state);
        }
        if state.next >= months.len() {
            state.reported = false;
            state.year += 1;
            state.next = 0;
            state.frozen = state.champion.clone();
        }
        self.story.resume(state.year, MONTHS[months[state.next] - 1], &state.champion);
        Ok(state)
    }

    /// A trial that an earlier state left behind is nobody's any more. Gives where the log stands.
    fn end_stale_trial(&self) -> Result<u64> {
        let snapshot = self.registry.snapshot();
        let Some(stale) = snapshot.alias(MODEL, CHALLENGER) else { return Ok(snapshot.sequence()) };
        let expect = Expect::Version(stale.id().version);
        let draft = Draft::new("closed loop", "the state of this trial was removed")
            .remove_alias(MODEL, CHALLENGER, expect);
        self.registry.commit(draft)?;
        Ok(self.registry.snapshot().sequence())
    }

    /// The alias is the truth: a champion that somebody else made is taken over. (While a month is played
    /// again after a kill, the alias may already be where this month's trial moves it.)
    fn adopt(&mut self, state: &mut LoopState) -> Result<()> {
        let snapshot = self.registry.refresh()?;
        let champion = snapshot.resolve(&format!("{MODEL}@{CHAMPION}").parse()?)?.id().clone();
        let on_trial = state.rollout.as_ref().is_some_and(|rollout| *rollout.challenger() == champion);
        if champion == state.champion || on_trial {
            return Ok(());
        }
        if state.rollout.take().is_some() {
            self.end_stale_trial()?;
        }
        state.watch = Watch::new()?;
        self.story.adopted(&champion);
        state.champion = champion;
        Ok(())
    }

    /// The champion that the registry has, or a first model, trained on the history and approved.
    fn first_champion(&mut self, months: &[usize]) -> Result<ModelVersion> {
        if let Some(version) = self.registry.snapshot().alias(MODEL, CHAMPION) {
            return Ok(version.id().clone());
        }
        self.clock.set(month_start(1, months[HISTORY_MONTHS])?);
        let history: Vec<MonthKey> =
            months[..HISTORY_MONTHS].iter().map(|month| MonthKey { year: 1, month: *month }).collect();
        let version = self.train("first", &history, "the first model", false)?.map_err(|reason| {
            Error::data(format!(
                "the first model did not pass the gate: {reason}; give a longer log with --data, or another \
                 --seed"
            ))
        })?;
        let draft = Draft::new("model owner", "the first model passed the gate")
            .key(format!("first champion {version}"))
            .approve(&version)
            .alias(CHAMPION, &version, Expect::Absent);
        self.registry.commit(draft)?;
        self.story.promoted_first(&version);
        Ok(version)
    }

    fn month(&mut self, state: &mut LoopState, number: usize) -> Result<()> {
        let month = self.traffic.month(state.year, number)?;
        self.clock.set(month_start(state.year, number)?);
        self.adopt(state)?;
        if state.rollout.is_none() && state.drilled_year < state.year {
            self.drill(state, number)?;
        }

        let shift = Shift {
            clock: &self.clock,
            folder: &self.folder,
            registry: &self.registry,
            loader: &self.runtimes.loader(),
            schema: &self.schema,
            year: state.year,
            champion: &state.champion.clone(),
            frozen: &state.frozen.clone(),
        };
        let (registry, epoch) = (Arc::clone(&self.registry), state.epoch);
        let mut end = |ended: &Ended| trial::conclude(&registry, epoch, ended);
        let served = shift.serve(&month, &mut state.watch, &mut state.rollout, &mut end)?;
        let sessions = mlops_core::record::labelled_rows(&served.records, self.schema.clone())?;
        self.folder.write_sessions(state.year, number, &sessions)?;
        if let Some(ended) = &served.ended {
            self.note_end(state, ended);
        }

        let package = self.registry.fetch(&state.champion)?;
        let snapshot = self.registry.snapshot();
        let registered = snapshot.version(&state.champion)?.record.metrics.get("log_loss").copied();
        let (report, found) = watch::look(&package, registered, &served)?;
        let alerts = watch::tell(&mut state.watch.alerts, served.closed, &found);
        let mut summary = watch::summary(state, &month, &served, &report, alerts)?;
        self.story.month(&summary);
        if state.rollout.is_none() {
            summary.retrained = watch::reason_to_train(&summary.alerts);
            if let Some(reason) = &summary.retrained {
                self.retrain(state, number, reason)?;
            }
        }
        state.summary.requests_answered += served.scores.len() as u64;
        state.summary.requests_failed += served.failed;
        state.summary.first_failure = state.summary.first_failure.take().or(served.failure);
        state.summary.requests_fallback += served.fallback;
        state.summary.versions = self.registered();
        state.summary.months.push(summary);
        Ok(())
    }

    fn note_end(&mut self, state: &mut LoopState, ended: &Ended) {
        let challenger = ended.rollout.challenger().clone();
        let end = Move { time: ended.time, challenger: challenger.clone(), reason: ended.reason.clone() };
        let promoted = ended.rollout.status() == Status::Promoted;
        self.story.trial_ended(&end, promoted);
        if promoted {
            state.champion = challenger;
            state.summary.promotions.push(end);
        } else {
            state.summary.roll_backs.push(end);
        }
    }

    fn registered(&self) -> Vec<Registered> {
        let snapshot = self.registry.snapshot();
        let Ok(model) = snapshot.model(MODEL) else { return Vec::new() };
        let registered = |version: &Arc<mlops_registry::Version>| Registered {
            version: version.id().clone(),
            reason: version.record.description.clone(),
        };
        model.versions.iter().map(registered).collect()
    }
}
