//! New models: when they are trained, on what, and how their trials begin.

use std::sync::Arc;

use mlops_core::pipeline::{Request, Runner, Store};
use mlops_core::run::RunStatus;
use mlops_core::{Clock, Digest, Error, ErrorKind, ModelVersion, Result};

use super::host::{HISTORY_MONTHS, Loop};
use super::state::LoopState;
use super::training::{MonthKey, Workshop, training};
use super::trial;

/// How many months a model may be trained on.
const WINDOW_MONTHS: usize = 12;

impl Loop<'_, '_> {
    /// Once a year, in the first month without a trial, a challenger is broken on purpose, to see it rolled
    /// back.
    pub(super) fn drill(&mut self, state: &mut LoopState, number: usize) -> Result<()> {
        state.drilled_year = state.year;
        let window = self.window(state.year, number, false);
        let id = format!("{}-drill-year-{}", state.epoch, state.year);
        self.try_challenger(state, &id, &window, "a drill: its features are scrambled on purpose", true)
    }

    pub(super) fn retrain(&mut self, state: &mut LoopState, number: usize, reason: &str) -> Result<()> {
        let window = self.window(state.year, number, true);
        let id = format!("{}-year-{}-month-{number:02}", state.epoch, state.year);
        self.try_challenger(state, &id, &window, reason, false)
    }

    /// Trains a challenger and begins its trial. A model that cannot be trained, or is refused, is told and
    /// leaves the champion where it is: the service goes on.
    fn try_challenger(
        &mut self,
        state: &mut LoopState,
        id: &str,
        window: &[MonthKey],
        reason: &str,
        sabotage: bool,
    ) -> Result<()> {
        let refusal = match self.train(id, window, reason, sabotage) {
            Ok(Ok(version)) => return self.begin_trial(state, &version, reason),
            Ok(Err(refusal)) => refusal,
            Err(error) if matches!(error.kind(), ErrorKind::Data | ErrorKind::Invalid) => {
                format!("{error:#}")
            }
            Err(error) => return Err(error),
        };
        self.story.refused(&refusal);
        state.summary.refusals.push(format!("{id}: {refusal}"));
        Ok(())
    }

    fn begin_trial(&mut self, state: &mut LoopState, version: &ModelVersion, reason: &str) -> Result<()> {
        self.story.on_trial(version, reason);
        let now = self.clock.now();
        state.rollout =
            Some(trial::begin(&self.registry, &state.champion, version, reason, state.epoch, now)?);
        Ok(())
    }

    /// The months before this one, or up to it, oldest first.
    fn window(&self, year: usize, number: usize, with_it: bool) -> Vec<MonthKey> {
        let months = self.traffic.months();
        let earlier =
            (1..=year).flat_map(|year| months.iter().map(move |month| MonthKey { year, month: *month }));
        let end = |key: &MonthKey| {
            (key.year, key.month) < (year, number) || (with_it && (key.year, key.month) == (year, number))
        };
        let earlier: Vec<MonthKey> = earlier.filter(end).collect();
        earlier[earlier.len().saturating_sub(WINDOW_MONTHS)..].to_vec()
    }

    /// Runs the training pipeline: the new version, or why the gate refused it.
    pub(super) fn train(
        &mut self,
        id: &str,
        window: &[MonthKey],
        reason: &str,
        sabotage: bool,
    ) -> Result<Result<ModelVersion, String>> {
        let workshop = self.workshop();
        let training = training(&workshop);
        // Runs on other sessions have other ids, so that none is taken for the rest of another.
        let source = format!("{} seed {}", self.traffic.fingerprint(), self.seed.value());
        let id = format!("{}-{id}", Digest::of(source).short());
        let runner = Runner::new(self.clock.clone()).with_store(Store::open(self.folder.pipeline())?);
        let months = serde_json::to_value(window)
            .map_err(|error| Error::internal("months cannot be written as JSON").with_source(error))?;
        let request = Request::new(&id)
            .seed(self.seed.derive(&id))
            .param("months", months)
            .param("reason", reason)
            .param("sabotage", sabotage);
        let done = runner.run(&training.pipeline, request)?;
        match done.status() {
            RunStatus::Completed => {
                let version = done.get(training.version)?;
                self.story.trained(&version, &done.run.metrics());
                Ok(Ok((*version).clone()))
            }
            RunStatus::Stopped { .. } => {
                let verdict = done.get(training.verdict)?;
                let reasons: Vec<_> = verdict.failures().map(|failure| failure.reason.clone()).collect();
                Ok(Err(reasons.join("; ")))
            }
            other => Err(Error::internal(format!("training run `{id}` ended as {other:?}"))),
        }
    }

    fn workshop(&self) -> Workshop {
        let (folder, traffic, schema) =
            (Arc::clone(&self.folder), Arc::clone(&self.traffic), self.schema.clone());
        let names: Vec<String> = schema.columns().iter().map(|column| column.name.clone()).collect();
        let history = self.traffic.months()[..HISTORY_MONTHS].to_vec();
        let read = move |months: &[MonthKey]| {
            let months = months.iter().map(|key| {
                // What was served was captured and labelled; the first months are history.
                if !history.contains(&key.month) || key.year > 1 {
                    return folder.read_sessions(key.year, key.month, &schema);
                }
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                traffic.month(key.year, key.month)?.sessions.project(&names)
            });
            months.collect()
        };
        Workshop {
            read: Arc::new(read),
            registry: Arc::clone(&self.registry),
            runtimes: self.runtimes.clone(),
        }
    }
}
