//! Counters and spans of the software itself; metrics of models are in the record of the run.

use metrics::{counter, histogram};

use super::observer::{Notice, Observer};
use crate::run::{RunStatus, StepState};

/// Counts what runs do, by the facade `metrics`: the host chooses the exporter, such as Prometheus.
///
/// | name | labels | what |
/// |---|---|---|
/// | `mlops_pipeline_runs_total` | `pipeline`, `status` | runs that ended or were interrupted |
/// | `mlops_pipeline_run_seconds` | `pipeline` | how long each took, a histogram |
/// | `mlops_pipeline_steps_total` | `step`, `state` | steps by how they were settled: `computed`, `cached`, `skipped`, .. |
/// | `mlops_pipeline_step_seconds` | `step` | how long each computed step took, a histogram |
/// | `mlops_pipeline_attempts_failed_total` | `step`, `retried` | attempts that failed, and whether another came |
/// | `mlops_pipeline_cache_damaged_total` | `step` | cached results that could not be used |
///
/// With the same feature, each run is a span of `tracing` called `pipeline_run`, with one called `pipeline_step` in it
/// for each attempt of a step; they need no observer.
///
/// ```
/// use mlops_core::SystemClock;
/// use mlops_core::pipeline::{Runner, Telemetry};
///
/// let runner = Runner::new(SystemClock::new()).with_observer(Telemetry);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Telemetry;

impl Observer for Telemetry {
    fn observe(&self, _run: &str, notice: &Notice<'_>) {
        match notice {
            Notice::StepDone(step) => {
                let (name, state) = (step.name.to_string(), state(step.state));
                counter!("mlops_pipeline_steps_total", "step" => name.clone(), "state" => state).increment(1);
                if step.state == StepState::Computed {
                    histogram!("mlops_pipeline_step_seconds", "step" => name)
                        .record(step.duration_us as f64 / 1e6);
                }
            }
            Notice::AttemptFailed { step, retry_in, .. } => {
                let retried = if retry_in.is_some() { "yes" } else { "no" };
                let step = (*step).to_owned();
                counter!("mlops_pipeline_attempts_failed_total", "step" => step, "retried" => retried)
                    .increment(1);
            }
            Notice::CacheDamaged { step, .. } => {
                counter!("mlops_pipeline_cache_damaged_total", "step" => (*step).to_owned()).increment(1);
            }
            Notice::RunDone(run) => {
                let (pipeline, status) = (run.pipeline.clone(), status(&run.status));
                counter!("mlops_pipeline_runs_total", "pipeline" => pipeline.clone(), "status" => status)
                    .increment(1);
                let seconds = run.finished.saturating_since(run.started).as_secs_f64();
                histogram!("mlops_pipeline_run_seconds", "pipeline" => pipeline).record(seconds);
            }
            _ => {}
        }
    }
}

fn state(state: StepState) -> &'static str {
    match state {
        StepState::Computed => "computed",
        StepState::Cached => "cached",
        StepState::Resumed => "resumed",
        StepState::Injected => "injected",
        StepState::Skipped => "skipped",
        StepState::Suspended => "suspended",
        StepState::Failed => "failed",
        StepState::NotReached => "not_reached",
    }
}

fn status(status: &RunStatus) -> &'static str {
    match status {
        RunStatus::Completed => "completed",
        RunStatus::Stopped { .. } => "stopped",
        RunStatus::Suspended { .. } => "suspended",
        RunStatus::Rejected { .. } => "rejected",
        RunStatus::Expired { .. } => "expired",
        RunStatus::Cancelled => "cancelled",
        RunStatus::TimedOut { .. } => "timed out",
        RunStatus::Failed { .. } => "failed",
    }
}
