//! What an endpoint tells of: swaps, drains, and models that come out of service and back.

use std::sync::Arc;

use mlops_core::{Error, Event, EventKind, EventSink, Severity};

use super::deployment::Slot;
use super::health::{Permit, Turn};
use super::{Endpoint, isolate};

impl Endpoint {
    /// Tells this sink, in events of kind [`Serving`](EventKind::Serving) whose subject is the endpoint or a
    /// version:
    ///
    /// | event | severity |
    /// |---|---|
    /// | the arms or their shares changed: who answers now | info |
    /// | a version came that answers in a reduced precision, since its full one fails on the golden rows | warning |
    /// | a version was swapped out and its last request is done | info |
    /// | a version is out of service after failures in a row, and the last of them | warning |
    /// | it answers again | info |
    /// | it failed in every try and is in quarantine, as far as it is not the champion | critical |
    /// | a [`Follower`](super::Follower) could not load or deploy a version | warning |
    ///
    /// Events are told by the thread that finds out, which for the failures of a model is one of its callers, at
    /// most once in a [`cool_down_us`](super::HealthSettings::cool_down_us): a sink must be quick, and hand over what
    /// takes time. A panic of the sink is caught.
    #[must_use]
    pub fn with_events(mut self, events: Arc<dyn EventSink>) -> Self {
        self.events = Some(events);
        self
    }

    #[cold]
    pub(super) fn tell(&self, severity: Severity, subject: String, message: String) {
        #[cfg(feature = "telemetry")]
        crate::telemetry::trace(self.name(), severity, &subject, &message);
        let Some(events) = &self.events else { return };
        let event = Event::new(self.clock.now(), severity, EventKind::Serving, subject).message(message);
        let event = event.detail("endpoint", self.name());
        // A sink that panics has nobody to tell, and must not take a request with it.
        let _ = isolate("the event sink", || {
            events.emit(&event);
            Ok(())
        });
    }

    /// Takes in that an arm's model answered.
    #[inline]
    pub(super) fn succeeded(&self, slot: &Slot, permit: Permit) {
        if slot.model.health.succeeded(&self.health, permit) {
            let message = format!("is in service again in arm `{}`", slot.origin.arm);
            self.tell(Severity::Info, slot.origin.version.to_string(), message);
        }
    }

    /// Takes in that an arm's model failed.
    #[cold]
    pub(super) fn failed(&self, slot: &Slot, permit: Permit, error: &Error) {
        let super::Origin { arm, version, .. } = &*slot.origin;
        let (severity, message) =
            match slot.model.health.failed(&self.health, permit, self.clock.monotonic_ns()) {
                Turn::None => return,
                Turn::Opened => {
                    let failures = self.health.failures_in_row_max;
                    let message = format!(
                        "is out of service in arm `{arm}` after {failures} failures in a row: {error:#}"
                    );
                    (Severity::Warning, message)
                }
                Turn::Quarantined => {
                    let message =
                        format!("failed in all {} tries in arm `{arm}`: {error:#}", self.health.tries_max);
                    (Severity::Critical, message)
                }
            };
        self.tell(severity, version.to_string(), message);
    }
}
