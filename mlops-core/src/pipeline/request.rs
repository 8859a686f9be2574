//! What one run is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::artifact::{Artifact, digest};
use super::context::CancelToken;
use super::engine::Value;
use super::handle::{Handle, Input};
use crate::{Error, Result, Seed};

/// One run: its id, and what differs from the defaults. A text is a request with nothing else.
///
/// The id names the run for good. Running the same id again resumes it, or gives the same outcome if it is
/// done; what was committed does not run twice. A scheduled run is well named by its date.
///
/// ```
/// use mlops_core::pipeline::{Pipeline, Request, Runner};
/// use mlops_core::{Seed, SystemClock};
///
/// let mut p = Pipeline::new("partial");
/// let rounds = p.param("rounds", 100_u32);
/// let rows = p.step("read", || Ok(vec![1.0, 2.0]), ());
/// let model = p.step("train", |rows: &Vec<f64>, n: &u32| Ok(rows.iter().sum::<f64>() * f64::from(*n)), (rows, rounds));
/// let report = p.step("report", |model: &f64| Ok(format!("{model}")), model);
///
/// let request = Request::new("2026-05-01")
///     .seed(Seed::new(7))
///     .param("rounds", 10)
///     .inject(rows, vec![5.0])
///     .only(model);
/// let done = Runner::new(SystemClock::new()).run(&p, request)?;
/// assert_eq!(*done.get(model)?, 50.0);
/// assert!(done.get(report).is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) id: String,
    pub(super) seed: Seed,
    pub(super) params: BTreeMap<String, serde_json::Value>,
    pub(super) injected: BTreeMap<usize, Value>,
    pub(super) only: Vec<usize>,
    pub(super) cancel: CancelToken,
    pub(super) timeout: Option<Duration>,
    /// The pipeline of all handles, 0 if there is none.
    pub(super) pipeline: u64,
    pub(super) problems: Vec<String>,
}

impl Request {
    /// A run of this id: 1 to 128 letters, digits and `-_.+`.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            seed: Seed::default(),
            params: BTreeMap::new(),
            injected: BTreeMap::new(),
            only: Vec::new(),
            cancel: CancelToken::default(),
            timeout: None,
            pipeline: 0,
            problems: Vec::new(),
        }
    }

    /// Sets the seed of everything random in the run.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Sets a parameter, as JSON.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Gives the value of an input or of a step from outside: the step does not run, and neither do those
    /// that only it needs. A [`split`](super::Pipeline::split) of which some parts alone are given runs for
    /// the others.
    #[must_use]
    pub fn inject<T: Artifact>(mut self, handle: Handle<T>, value: T) -> Self {
        self.claim(handle.pipeline);
        match digest(&value) {
            Ok(digest) => {
                self.injected.insert(handle.slot, Value { erased: Arc::new(value), digest });
            }
            Err(error) => self.problems.push(format!("an injected value: {error:#}")),
        }
        self
    }

    /// Runs only what this value needs. Several calls add up.
    #[must_use]
    pub fn only<I: Input>(mut self, wanted: I) -> Self {
        let port = wanted.port();
        self.claim(port.pipeline);
        self.only.extend(port.source.slots());
        self
    }

    /// Lets `token` cancel the run.
    #[must_use]
    pub fn cancel_by(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// Gives the run so much time, by the monotonic clock, from this call of [`Runner::run`](super::Runner::run) on. Once
    /// it is over no step starts, no retry is waited for, a step ends at its next
    /// [`checkpoint`](super::Context::checkpoint), and the run ends as [`TimedOut`](crate::run::RunStatus::TimedOut).
    /// What is done is kept: running it again goes on, with the whole time anew. An error that would not be retried
    /// fails the run as ever; one whose retry would come too late is told in the status.
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    ///
    /// use mlops_core::pipeline::{Context, Pipeline, Request, Runner};
    /// use mlops_core::run::RunStatus;
    /// use mlops_core::{ManualClock, Timestamp};
    ///
    /// let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    /// let mut p = Pipeline::new("nightly");
    /// let slow = clock.clone();
    /// let rows = p.step("read", move || Ok(slow.advance(Duration::from_secs(7200))), ());
    /// let model = p.step("train", |_: &()| Ok(1), rows);
    ///
    /// let done = Runner::new(clock).run(&p, Request::new("1").timeout(Duration::from_secs(3600)))?;
    /// assert_eq!(*done.status(), RunStatus::TimedOut { step: "train".to_owned(), error: None });
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    pub(super) fn check(&self, pipeline: u64) -> Result<()> {
        let foreign = self.pipeline != 0 && self.pipeline != pipeline;
        match self.problems.first() {
            None if foreign => {
                Err(Error::invalid(format!("run `{}` names handles of another pipeline", self.id)))
            }
            None => Ok(()),
            Some(problem) => Err(Error::invalid(format!("run `{}`: {problem}", self.id))),
        }
    }

    fn claim(&mut self, pipeline: u64) {
        if self.pipeline == 0 {
            self.pipeline = pipeline;
        } else if self.pipeline != pipeline {
            self.problems.push("handles of two pipelines are named".to_owned());
        }
    }
}

impl From<&str> for Request {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for Request {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}
