//! One month of serving: every session is answered, captured, labelled a week later, and learnt from.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use indicatif::{ProgressBar, ProgressStyle};
use mlops_core::data::{TableSchema, Value};
use mlops_core::record::{Label, LabelStore, RecordSchema, read_parquet};
use mlops_core::{Error, Event, EventKind, ModelVersion, RequestId, Result, Severity, Timestamp};
use mlops_drift::detector::{Detector, Signal};
use mlops_registry::blocking::Registry;
use mlops_serve::capture::{Capture, CaptureSettings, CaptureWriter, ParquetSettings, ParquetSink};
use mlops_serve::endpoint::{Endpoint, Loader, Model};
use mlops_serve::rollout::{Action, Rollout, Status};

use super::calendar::{LABEL_DELAY, ShopClock, arrival, closing, month_start};
use super::state::{StateFolder, Watch};
use super::trial::EXCESS_ERROR;
use crate::shop::{LABEL, Month};

/// What a month is served with.
pub(super) struct Shift<'a> {
    pub(super) clock: &'a ShopClock,
    pub(super) folder: &'a StateFolder,
    pub(super) registry: &'a Registry,
    pub(super) loader: &'a Loader,
    /// The features and the label.
    pub(super) schema: &'a TableSchema,
    pub(super) year: usize,
    pub(super) champion: &'a ModelVersion,
    pub(super) frozen: &'a ModelVersion,
}

/// What came of a month.
pub(super) struct Served {
    pub(super) labels: Vec<bool>,
    pub(super) scores: Vec<f64>,
    pub(super) frozen_scores: Vec<f64>,
    /// Which version answered.
    pub(super) versions: Vec<u64>,
    /// The first failure.
    pub(super) failure: Option<String>,
    pub(super) failed: u64,
    pub(super) fallback: u64,
    pub(super) latency_us: f64,
    /// The captured records with their labels.
    pub(super) records: Vec<RecordBatch>,
    /// The first drift of each detector.
    pub(super) events: Vec<Event>,
    /// How the rollout ended, if it did.
    pub(super) ended: Option<Ended>,
    pub(super) closed: Timestamp,
}

/// The end of a rollout.
pub(super) struct Ended {
    pub(super) time: Timestamp,
    pub(super) rollout: Rollout,
    pub(super) reason: String,
}

/// An answered session whose label is not known yet.
struct Pending {
    id: RequestId,
    known: Timestamp,
    bought: bool,
    score: f64,
    /// The champion's score of the same session, if the challenger answered it.
    champion_score: Option<f64>,
    arm: String,
    propensity: f64,
    /// Which version answered.
    version: ModelVersion,
}

impl Shift<'_> {
    /// Serves every session of the month, then waits for its last labels.
    pub(super) fn serve(
        &self,
        month: &Month,
        watch: &mut Watch,
        rollout: &mut Option<Rollout>,
        end: &mut dyn FnMut(&Ended) -> Result<()>,
    ) -> Result<Served> {
        let start = month_start(self.year, month.number)?;
        self.clock.set(start);
        let capture = Arc::new(Capture::new(
            RecordSchema::new(self.schema, ["probability"])?,
            CaptureSettings::default().bytes_max(capture_bytes(month.sessions.rows())),
        )?);
        let records = self.folder.fresh_records(self.year, month.number)?;
        let sink = ParquetSink::open(&records, "records", ParquetSettings::default(), self.clock.clone())?;
        let writer = CaptureWriter::spawn(Arc::clone(&capture), sink, std::time::Duration::from_millis(50))?;

        let endpoint =
            Endpoint::new(super::training::MODEL, self.clock.clone()).with_capture(Arc::clone(&capture));
        let load = |version: &ModelVersion| self.loader.load(&self.registry.fetch(version)?);
        let champion = load(self.champion)?;
        endpoint.deploy(Arc::clone(&champion))?;
        if let Some(rollout) = rollout {
            endpoint.challenge(load(rollout.challenger())?, rollout.challenger_weight())?;
        }
        let frozen = load(self.frozen)?;

        let count = month.sessions.rows();
        let mut shop = Desk {
            endpoint: &endpoint,
            champion,
            frozen,
            watch,
            rollout,
            end,
            waiting: VecDeque::new(),
            labels: LabelStore::default(),
            served: Served {
                labels: Vec::with_capacity(count),
                scores: Vec::with_capacity(count),
                frozen_scores: Vec::with_capacity(count),
                versions: Vec::with_capacity(count),
                failure: None,
                failed: 0,
                fallback: 0,
                latency_us: 0.0,
                records: Vec::new(),
                events: Vec::new(),
                ended: None,
                closed: closing(start),
            },
        };
        let places = Places::new(month, self.schema)?;
        let progress = progress(count, month.name);
        month.sessions.for_each_row(|index, cells| {
            let now = arrival(start, index, count);
            self.clock.set(now);
            shop.learn_until(now)?;
            let id =
                RequestId::from_key(format!("year {} month {} session {index}", self.year, month.number));
            shop.answer(id, now, &places.features(cells), places.bought(cells))?;
            progress.inc(1);
            Ok(())
        })?;
        progress.finish_and_clear();
        self.clock.set(closing(start));
        shop.learn_until(closing(start))?;

        let Desk { mut served, labels, .. } = shop;
        served.latency_us /= served.scores.len().max(1) as f64;
        writer.close()?;
        let counts = capture.counts();
        if counts.captured != served.scores.len() as u64 || counts.dropped + counts.rejected > 0 {
            return Err(Error::unavailable(format!(
                "{} of {} answers were captured: training would miss the others, so the month is played again \
                 with the next run",
                counts.captured,
                served.scores.len()
            )));
        }
        let sink = ParquetSink::open(&records, "records", ParquetSettings::default(), self.clock.clone())?;
        for file in sink.files()? {
            for batch in read_parquet(file)? {
                served.records.push(labels.join(&batch, served.closed)?);
            }
        }
        Ok(served)
    }
}

/// Room for all records of a month, so that none is dropped however slow the disk is.
fn capture_bytes(sessions: usize) -> usize {
    (64 << 20) + sessions * 2048
}

/// Answers sessions and takes in their labels.
struct Desk<'a> {
    endpoint: &'a Endpoint,
    champion: Arc<Model>,
    frozen: Arc<Model>,
    watch: &'a mut Watch,
    rollout: &'a mut Option<Rollout>,
    end: &'a mut dyn FnMut(&Ended) -> Result<()>,
    waiting: VecDeque<Pending>,
    labels: LabelStore,
    served: Served,
}

impl Desk<'_> {
    fn answer(&mut self, id: RequestId, now: Timestamp, row: &[Value<'_>], bought: bool) -> Result<()> {
        let answer = match self.endpoint.score(id, row) {
            Ok(answer) => answer,
            Err(error) => {
                self.served.failed += 1;
                self.served.failure.get_or_insert_with(|| format!("{error:#}"));
                return Ok(());
            }
        };
        // Outside the request path: what the others would have said of the same session.
        let frozen_score = self.frozen.score(row)?;
        let by_challenger = answer.origin.version != *self.champion.version();
        let champion_score = if by_challenger { Some(self.champion.score(row)?) } else { None };
        self.served.fallback += u64::from(answer.origin.fallback);
        self.served.latency_us += answer.latency_us;
        self.served.labels.push(bought);
        self.served.scores.push(answer.score);
        self.served.frozen_scores.push(frozen_score);
        self.served.versions.push(answer.origin.version.version);
        self.waiting.push_back(Pending {
            id,
            known: now.saturating_add(LABEL_DELAY),
            bought,
            score: answer.score,
            champion_score,
            arm: answer.origin.arm.clone(),
            propensity: answer.origin.propensity,
            version: answer.origin.version.clone(),
        });
        Ok(())
    }

    /// Takes in the labels that are known by now.
    fn learn_until(&mut self, now: Timestamp) -> Result<()> {
        while self.waiting.front().is_some_and(|pending| pending.known <= now) {
            let Some(pending) = self.waiting.pop_front() else { break };
            self.labels.insert(Label {
                id: pending.id,
                time: pending.known,
                value: f64::from(u8::from(pending.bought)),
            })?;
            self.watch_errors(&pending)?;
            self.compare(&pending)?;
        }
        Ok(())
    }

    fn watch_errors(&mut self, pending: &Pending) -> Result<()> {
        // Answers of the champion before a promotion may still be waiting for their labels.
        if pending.version != *self.champion.version() {
            return Ok(());
        }
        let squared = squared_error(pending.bought, pending.score);
        let wrong = f64::from(u8::from((pending.score >= 0.5) != pending.bought));
        let signals = [
            ("adwin", "squared error", self.watch.adwin.update(squared)?, self.watch.adwin.reason()),
            ("ddm", "error rate", self.watch.ddm.update(wrong)?, self.watch.ddm.reason()),
        ];
        for (detector, what, signal, reason) in signals {
            let subject = format!("{what} of the champion ({detector})");
            let told = self.served.events.iter().any(|event| event.subject == subject);
            if let (Signal::Drift, Some(reason), false) = (signal, reason, told) {
                let event = Event::new(pending.known, Severity::Critical, EventKind::ConceptDrift, subject)
                    .measured(reason.statistic, reason.value, reason.limit);
                self.served.events.push(event);
            }
        }
        Ok(())
    }

    /// Feeds the rollout: how much more the challenger erred than the champion would have, session by session.
    fn compare(&mut self, pending: &Pending) -> Result<()> {
        let Some(rollout) = self.rollout else { return Ok(()) };
        let excess = pending.champion_score.map_or(0.0, |champion| {
            squared_error(pending.bought, pending.score) - squared_error(pending.bought, champion)
        });
        rollout.add_outcome(EXCESS_ERROR, &pending.version, &pending.arm, pending.propensity, excess)?;
        for arm in self.endpoint.take_traffic() {
            rollout.add_traffic(&arm.version, &arm.arm, arm.propensity, &arm.traffic);
        }
        let decision = rollout.advance(pending.known);
        if decision.action == Action::Hold {
            return Ok(());
        }
        self.endpoint.apply(rollout)?;
        if rollout.status() == Status::Running {
            return Ok(());
        }
        if rollout.status() == Status::Promoted {
            self.champion = Arc::clone(&self.endpoint.arms()[0].model);
            (self.watch.adwin, self.watch.ddm) = {
                let fresh = Watch::new()?;
                (fresh.adwin, fresh.ddm)
            };
        }
        let ended = Ended { time: pending.known, rollout: rollout.clone(), reason: decision.to_string() };
        (self.end)(&ended)?;
        self.served.ended = Some(ended);
        *self.rollout = None;
        Ok(())
    }
}

fn squared_error(bought: bool, score: f64) -> f64 {
    (f64::from(u8::from(bought)) - score).powi(2)
}

/// Where features and label stand in a session.
struct Places {
    features: Vec<usize>,
    label: usize,
}

impl Places {
    fn new(month: &Month, schema: &TableSchema) -> Result<Self> {
        let table = month.sessions.schema();
        let features = schema.features().map(|column| table.index_of(&column.name)).collect::<Result<_>>()?;
        Ok(Self { features, label: table.index_of(LABEL)? })
    }

    fn features<'a>(&self, cells: &[Value<'a>]) -> Vec<Value<'a>> {
        self.features.iter().map(|place| cells[*place]).collect()
    }

    fn bought(&self, cells: &[Value<'_>]) -> bool {
        cells[self.label] == Value::Boolean(true)
    }
}

/// A bar on the error stream, if that is a terminal.
fn progress(count: usize, month: &str) -> ProgressBar {
    let bar = ProgressBar::new(count as u64).with_message(month.to_owned());
    let style = ProgressStyle::with_template("  {msg:<5} {wide_bar} {pos}/{len} sessions, {per_sec}");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
