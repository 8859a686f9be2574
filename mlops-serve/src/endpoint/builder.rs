//! An endpoint and how it is set up.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use mlops_core::{Clock, Error, EventSink, Result};

use super::HealthSettings;
use super::deployment::{ArmSpec, Deployment};
use super::ledger::Admin;
use super::remembered::Remembered;
use crate::capture::Capture;

/// Answers requests with the models of the moment. See the [module](super).
///
/// Scoring takes `&self` from any number of threads and never waits for a change; changes take `&self` too
/// and wait for each other. A version that was swapped out is dropped by the thread that changes, as soon as
/// its last request is done: at that swap or the next, or by [`reap`](Self::reap). It is never dropped on the
/// request path.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) name: String,
    pub(super) salt: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timed: bool,
    pub(super) capture: Option<Arc<Capture>>,
    pub(super) events: Option<Arc<dyn EventSink>>,
    pub(super) health: HealthSettings,
    pub(super) default_score: Option<f64>,
    /// Requests that came too late for any model.
    pub(super) late: AtomicU64,
    pub(super) remembered: Option<Remembered>,
    pub(super) keep_previous: bool,
    pub(super) current: ArcSwapOption<Deployment>,
    pub(super) admin: Mutex<Admin>,
}

impl Endpoint {
    /// An endpoint that has no model yet.
    ///
    /// Its name salts the split, so that experiments at two endpoints are independent.
    pub fn new(name: impl Into<String>, clock: impl Clock) -> Self {
        let name = name.into();
        Self {
            salt: name.clone(),
            name,
            clock: Arc::new(clock),
            timed: true,
            capture: None,
            events: None,
            health: HealthSettings::default(),
            default_score: None,
            late: AtomicU64::new(0),
            remembered: None,
            keep_previous: false,
            current: ArcSwapOption::empty(),
            admin: Mutex::default(),
        }
    }

    /// Sets the salt of the split. A new salt reshuffles all keys: use one for each experiment that must not
    /// inherit the luck of the one before.
    #[must_use]
    pub fn with_salt(mut self, salt: impl Into<String>) -> Self {
        self.salt = salt.into();
        self
    }

    /// Captures what is asked and answered.
    ///
    /// Captured are answers, those that stood in for one included: their column `fallback` is true. A request that
    /// ends in an error has no outputs and is not captured; [`take_traffic`](Self::take_traffic) counts it as a
    /// failure, unless it fits no model or was called off.
    #[must_use]
    pub fn with_capture(mut self, capture: Arc<Capture>) -> Self {
        self.capture = Some(capture);
        self
    }

    /// Sets when a model that fails again and again is left alone.
    #[must_use]
    pub fn with_health(mut self, health: HealthSettings) -> Self {
        self.health = health;
        self
    }

    /// Keeps the model that was the champion before, to answer when the champion fails. Costs its memory.
    #[must_use]
    pub fn with_previous(mut self) -> Self {
        self.keep_previous = true;
        self
    }

    /// Remembers the last answers, up to so many rows, and gives them when no model can answer: an equal row
    /// gets the score that it got before. Costs a hash of the row for each answer, and about 100 bytes a row.
    #[must_use]
    pub fn with_remembered_answers(mut self, rows: usize) -> Self {
        self.remembered = Some(Remembered::new(rows));
        self
    }

    /// Answers with this score when no model can, and no answer is remembered. Without it, that is an error.
    /// An endpoint that has no model at all is not ready: it answers with `Unavailable` all the same.
    ///
    /// # Errors
    /// `Invalid` if the score is not finite.
    pub fn with_default_score(mut self, score: f64) -> Result<Self> {
        if !score.is_finite() {
            return Err(Error::invalid(format!("the default score is {score}: want a finite number")));
        }
        self.default_score = Some(score);
        Ok(self)
    }

    /// Reads no clock on the request path: answers carry no latency, and latency guardrails see nothing.
    #[must_use]
    pub fn without_timing(mut self) -> Self {
        self.timed = false;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it can answer.
    pub fn is_ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// The arms, the champion first.
    pub fn arms(&self) -> Vec<ArmSpec> {
        self.current.load().as_ref().map_or_else(Vec::new, |deployment| deployment.specs())
    }
}
