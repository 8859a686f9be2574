//! The suite for event sinks.

use std::sync::Arc;
use std::time::Duration;

use super::burst::burst;
use crate::{Event, EventKind, EventSink, Result, Severity, Timestamp};

/// Checks an event sink with a burst of some thousand events from several threads.
///
/// Checked are: `emit` neither panics nor blocks, whatever the event: every severity and kind; no text, long text and
/// text that is no single line; times at the ends of the range; measurements that are NaN or infinite; many details.
/// `patience` is how long the whole burst may take: choose it far above what a loaded machine needs, as
/// a minute. A sink that is not done by then is left behind with its threads.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mlops_core::{EventLog, conformance};
///
/// let log = Arc::new(EventLog::default());
/// conformance::check_event_sink(log.clone(), Duration::from_secs(60))?;
/// assert!(log.take().len() > 1_000);
/// # Ok::<(), mlops_core::Error>(())
/// ```
///
/// # Errors
/// `Data`, saying which clause is broken and how; `Unavailable` if the machine gives no threads.
pub fn check_event_sink(sink: Arc<dyn EventSink>, patience: Duration) -> Result<()> {
    let events = events();
    burst("`emit`", patience, move |thread| {
        for _ in 0..ROUNDS {
            // Each thread begins elsewhere.
            let (before, after) = events.split_at(events.len() / (thread + 1));
            after.iter().chain(before).for_each(|event| sink.emit(event));
        }
    })
}

/// Every severity with every kind, in every shape that an event can have.
pub(super) fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for severity in SEVERITIES {
        for kind in KINDS {
            let event =
                |micros, subject: &str| Event::new(Timestamp::from_micros(micros), severity, kind, subject);
            events.extend([
                event(0, ""),
                event(i64::MIN, "feature `x`").measured("psi", f64::NAN, f64::INFINITY),
                event(i64::MAX, "two\nlines, a \"quote\", a \0 and an ü").message("\u{1b}[31m{}%s\r\n"),
                event(1, &"long ".repeat(2_000)).message("long ".repeat(2_000)).measured("", f64::MIN, -0.0),
                (0..100).fold(event(-1, "model"), |event, detail| event.detail(detail.to_string(), detail)),
            ]);
        }
    }
    events
}

const ROUNDS: usize = 5;
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];
const KINDS: [EventKind; 9] = [
    EventKind::DataDrift,
    EventKind::ConceptDrift,
    EventKind::ModelQuality,
    EventKind::DataQuality,
    EventKind::Bias,
    EventKind::Pipeline,
    EventKind::Registry,
    EventKind::Rollout,
    EventKind::Serving,
];
