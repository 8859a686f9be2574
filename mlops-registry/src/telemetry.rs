//! What the host's exporters hear of a registry: spans by `tracing`, counters and histograms by `metrics`. Without the
//! feature `telemetry` nothing, at no cost.

use mlops_core::{ModelVersion, Result};

use crate::Draft;
use crate::registry::Inner;

/// A call that is told of.
#[cfg_attr(not(feature = "telemetry"), allow(dead_code, reason = "nobody is told"))]
#[derive(Clone, Copy)]
pub(crate) enum Call<'a> {
    Open,
    Refresh,
    Commit(&'a Draft),
    Fetch(&'a ModelVersion),
    Sweep,
    Doctor,
}

/// Something that is counted on the way.
#[cfg_attr(not(feature = "telemetry"), allow(dead_code, reason = "nobody is told"))]
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    RacesLost,
    CommitsRead,
    BytesUploaded,
    BytesFetched,
    BytesSwept,
}

pub(crate) fn ok<T>(_: &T) -> &'static str {
    "ok"
}

#[cfg(not(feature = "telemetry"))]
mod told {
    use super::{Amount, Call, Inner, Result};

    pub(crate) async fn told<T>(
        _: &Inner,
        _: Call<'_>,
        _: fn(&T) -> &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        work.await
    }

    pub(crate) fn told_now<T>(
        _: &Inner,
        _: Call<'_>,
        _: fn(&T) -> &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        work()
    }

    pub(crate) fn add(_: &Inner, _: Amount, _: u64) {}

    pub(crate) fn attempt(_: u32) {}

    pub(crate) fn known(_: &Inner, _: impl Fn() -> u64) {}
}

#[cfg(feature = "telemetry")]
mod told {
    use metrics::{counter, gauge, histogram};
    use mlops_core::ErrorKind;
    use tracing::field::Empty;
    use tracing::{Instrument as _, Span, info_span};

    use super::{Amount, Call, Inner, Result};

    /// Does a call in its span; counts it by its outcome, and how long it took.
    pub(crate) async fn told<T>(
        inner: &Inner,
        call: Call<'_>,
        outcome: fn(&T) -> &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started_ns = inner.clock.monotonic_ns();
        let result = work.instrument(span(call, &inner.location)).await;
        count(inner, call, started_ns, result.as_ref().map_or_else(|error| kind(error.kind()), outcome));
        result
    }

    /// The same for a call that is no future.
    pub(crate) fn told_now<T>(
        inner: &Inner,
        call: Call<'_>,
        outcome: fn(&T) -> &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let started_ns = inner.clock.monotonic_ns();
        let result = span(call, &inner.location).in_scope(work);
        count(inner, call, started_ns, result.as_ref().map_or_else(|error| kind(error.kind()), outcome));
        result
    }

    fn span(call: Call<'_>, registry: &str) -> Span {
        match call {
            Call::Open => info_span!("registry_open", registry),
            Call::Refresh => info_span!("registry_refresh", registry),
            Call::Commit(draft) => {
                info_span!("registry_commit", registry, actor = draft.actor, attempts = Empty)
            }
            Call::Fetch(version) => info_span!("registry_fetch", registry, %version),
            Call::Sweep => info_span!("registry_sweep", registry),
            Call::Doctor => info_span!("registry_doctor", registry),
        }
    }

    fn count(inner: &Inner, call: Call<'_>, started_ns: u64, outcome: &'static str) {
        let took_us = inner.clock.monotonic_ns().saturating_sub(started_ns) as f64 / 1e3;
        let registry = inner.location.clone();
        macro_rules! count {
            ($total:literal, $us:literal) => {{
                counter!($total, "registry" => registry.clone(), "outcome" => outcome).increment(1);
                histogram!($us, "registry" => registry).record(took_us);
            }};
        }
        match call {
            Call::Open => count!("mlops_registry_opens_total", "mlops_registry_open_us"),
            Call::Refresh => count!("mlops_registry_refreshes_total", "mlops_registry_refresh_us"),
            Call::Commit(_) => count!("mlops_registry_commits_total", "mlops_registry_commit_us"),
            Call::Fetch(_) => count!("mlops_registry_fetches_total", "mlops_registry_fetch_us"),
            Call::Sweep => count!("mlops_registry_sweeps_total", "mlops_registry_sweep_us"),
            Call::Doctor => count!("mlops_registry_checkups_total", "mlops_registry_checkup_us"),
        }
    }

    pub(crate) fn add(inner: &Inner, what: Amount, amount: u64) {
        let registry = inner.location.clone();
        let counter = match what {
            Amount::RacesLost => counter!("mlops_registry_races_lost_total", "registry" => registry),
            Amount::CommitsRead => counter!("mlops_registry_commits_read_total", "registry" => registry),
            Amount::BytesUploaded => counter!("mlops_registry_uploaded_bytes_total", "registry" => registry),
            Amount::BytesFetched => counter!("mlops_registry_fetched_bytes_total", "registry" => registry),
            Amount::BytesSwept => counter!("mlops_registry_swept_bytes_total", "registry" => registry),
        };
        counter.increment(amount);
    }

    /// Which try of a commit it is, in the span of the commit.
    pub(crate) fn attempt(number: u32) {
        Span::current().record("attempts", number);
    }

    /// How long the log is as far as this process knows.
    pub(crate) fn known(inner: &Inner, sequence: impl Fn() -> u64) {
        let gauge = gauge!("mlops_registry_sequence", "registry" => inner.location.clone());
        let mut told = None;
        // Of two threads that tell at once, the last one tells what is known by then.
        while told != Some(sequence()) {
            let known = sequence();
            gauge.set(known as f64);
            told = Some(known);
        }
    }

    fn kind(kind: ErrorKind) -> &'static str {
        match kind {
            ErrorKind::Conflict => "conflict",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Data => "data",
            ErrorKind::Unsupported => "unsupported",
            _ => "internal",
        }
    }
}

pub(crate) use told::{add, attempt, known, told, told_now};
