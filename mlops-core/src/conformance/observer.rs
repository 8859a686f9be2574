//! The suite for observers of pipelines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::burst::burst;
use super::event_sink::events;
use crate::pipeline::{Notice, Observer};
use crate::run::{Run, RunStatus, StepRecord, StepState, Waiting};
use crate::{Error, Result, Seed, Timestamp};

/// Checks an observer with the notices of several runs at once, each told from a thread of its own.
///
/// Checked are: `observe` neither panics nor blocks, whatever the notice: runs with every end, also when their start was
/// not seen; steps that settle in every state, also without a start; progress that goes back, has no total or more
/// done than there is; attempts that fail; damaged caches; and events of every severity and kind.
/// `patience` is how long the whole burst may take: choose it far above what a loaded machine needs, as
/// a minute. An observer that is not done by then is left behind with its threads.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mlops_core::pipeline::EventObserver;
/// use mlops_core::{EventLog, SystemClock, conformance};
///
/// let observer = EventObserver::new(Arc::new(EventLog::default()), Arc::new(SystemClock::new()));
/// conformance::check_observer(Arc::new(observer), Duration::from_secs(60))?;
/// # Ok::<(), mlops_core::Error>(())
/// ```
///
/// # Errors
/// `Data`, saying which clause is broken and how; `Unavailable` if the machine gives no threads.
pub fn check_observer(observer: Arc<dyn Observer>, patience: Duration) -> Result<()> {
    let events = events();
    burst("`observe`", patience, move |thread| {
        for (round, status) in statuses().into_iter().enumerate() {
            let run = run(format!("run-{thread}-{round}"), status);
            let tell = |notice: &Notice<'_>| observer.observe(&run.id, notice);
            tell(&Notice::RunStarted { pipeline: &run.pipeline, steps: run.steps.len() });
            for record in &run.steps {
                run_step(record, &tell);
            }
            let step = "train";
            events.iter().for_each(|event| tell(&Notice::Event { step, event }));
            tell(&Notice::RunDone(&run));
            // A run that goes on in another process ends here without a start.
            observer.observe("unseen", &Notice::RunDone(&run));
        }
    })
}

/// What is told of one step: a computed or failed one is told in full, others settle at once.
fn run_step(record: &StepRecord, tell: &impl Fn(&Notice<'_>)) {
    let step = &*record.name;
    let error = &Error::unavailable("out of reach").with_source(std::io::Error::other("no\nroute"));
    if matches!(record.state, StepState::Computed | StepState::Failed) {
        tell(&Notice::CacheDamaged { step, error });
        for (attempt, retry_in) in [(1, Some(Duration::ZERO)), (2, Some(Duration::MAX)), (u32::MAX, None)] {
            tell(&Notice::StepStarted { step, attempt });
            for (done, total) in [(0, 0), (1, 10), (10, 10), (3, 10), (11, 10), (u64::MAX, 1), (0, u64::MAX)]
            {
                tell(&Notice::Progress { step, done, total });
            }
            tell(&Notice::AttemptFailed { step, attempt, error, retry_in });
        }
    }
    tell(&Notice::StepDone(record));
}

fn run(id: String, status: RunStatus) -> Run {
    let step = |(number, state)| {
        let mut record = StepRecord::new(format!("step\n{number}").into(), state);
        record.duration_us = u64::MAX;
        record.metrics = BTreeMap::from([("auc".to_owned(), f64::NAN)]);
        record
    };
    Run {
        format: Run::FORMAT,
        id,
        pipeline: "a {pipeline}".to_owned(),
        status,
        seed: Seed::new(1),
        // A wall clock that was set back.
        started: Timestamp::from_micros(i64::MAX),
        finished: Timestamp::from_micros(i64::MIN),
        params: BTreeMap::new(),
        steps: STATES.into_iter().enumerate().map(step).collect(),
    }
}

fn statuses() -> [RunStatus; 9] {
    let step = || "step\n0".to_owned();
    [
        RunStatus::Completed,
        RunStatus::Stopped { step: step(), reason: String::new() },
        RunStatus::Suspended {
            waiting: vec![Waiting { step: step(), token: "t".to_owned(), deadline: None }],
        },
        RunStatus::Rejected { step: step(), by: "ann".to_owned(), comment: String::new() },
        RunStatus::Expired { step: step(), deadline: Timestamp::EPOCH },
        RunStatus::Cancelled,
        RunStatus::TimedOut { step: step(), error: None },
        RunStatus::TimedOut { step: step(), error: Some("two\nlines".to_owned()) },
        RunStatus::Failed { step: step(), error: "two\nlines".to_owned() },
    ]
}

const STATES: [StepState; 8] = [
    StepState::Computed,
    StepState::Cached,
    StepState::Resumed,
    StepState::Injected,
    StepState::Skipped,
    StepState::Suspended,
    StepState::NotReached,
    StepState::Failed,
];
