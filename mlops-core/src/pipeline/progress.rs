//! Progress bars.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar};

use super::observer::{Notice, Observer};
use crate::run::StepState;

/// Draws a bar for the run and one for each step that tells its [`progress`](super::Context::progress), on
/// what the host gives it.
///
/// ```
/// use mlops_core::SystemClock;
/// use mlops_core::pipeline::{Context, Pipeline, ProgressBars, Runner};
/// use indicatif::{MultiProgress, ProgressDrawTarget};
///
/// let mut p = Pipeline::new("shop");
/// let train = |cx: &Context| {
///     (1..=10).for_each(|round| cx.progress(round, 10));
///     Ok(1_u32)
/// };
/// p.step("train", train, ());
///
/// let bars = ProgressBars::new(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
/// Runner::new(SystemClock::new()).with_observer(bars).run(&p, "1")?;
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ProgressBars {
    bars: MultiProgress,
    shown: Mutex<BTreeMap<(String, String), ProgressBar>>,
}

impl ProgressBars {
    /// Draws on these bars: [`MultiProgress::new`] draws on the standard error stream.
    pub fn new(bars: MultiProgress) -> Self {
        Self { bars, shown: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), ProgressBar>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bar(&self, run: &str, step: &str, length: u64) -> ProgressBar {
        let key = (run.to_owned(), step.to_owned());
        let bar = self.lock().entry(key).or_insert_with(|| self.bars.add(ProgressBar::new(length))).clone();
        bar.set_length(length);
        bar
    }
}

/// The run itself, which no step is called.
const WHOLE: &str = "";

impl Observer for ProgressBars {
    fn observe(&self, run: &str, notice: &Notice<'_>) {
        match notice {
            Notice::RunStarted { pipeline, steps } => {
                self.bar(run, WHOLE, *steps as u64).set_message((*pipeline).to_owned());
            }
            Notice::Progress { step, done, total } => self.bar(run, step, *total).set_position(*done),
            Notice::StepDone(step) => {
                if let Some(bar) = self.lock().remove(&(run.to_owned(), step.name.to_string())) {
                    bar.finish_and_clear();
                }
                if step.state != StepState::NotReached
                    && let Some(bar) = self.lock().get(&(run.to_owned(), WHOLE.to_owned()))
                {
                    bar.inc(1);
                }
            }
            Notice::RunDone(_) => {
                let mut shown = self.lock();
                let mine: Vec<_> = shown.keys().filter(|(of, _)| of == run).cloned().collect();
                for bar in mine.iter().filter_map(|key| shown.remove(key)) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
    }
}
