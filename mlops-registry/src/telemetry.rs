//! What the host's exporters hear of a registry: spans by `tracing`, counters and histograms by `metrics`. Without the
//! feature `telemetry` nothing, at no cost.

use std::sync::atomic::AtomicU32;

use mlops_core::{ModelVersion, Result};

use crate::Draft;
use crate::registry::Inner;

/// A call that is told of.
#[cfg_attr(not(feature = "telemetry"), allow(dead_code, reason = "nobody is told"))]
#[derive(Clone, Copy)]
pub(crate) enum Call<'a> {
    Open,
    Refresh,
    /// And how many tries it took.
    Commit(&'a Draft, &'a AtomicU32),
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

    pub(crate) fn known(_: &Inner, _: impl Fn() -> u64) {}

    pub(crate) fn describe() {}
}

#[cfg(feature = "telemetry")]
mod told {
    use std::sync::atomic::Ordering;

    use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
    use mlops_core::ErrorKind;
    use tracing::field::Empty;
    use tracing::{Instrument as _, Span, debug_span, info_span};

    use super::{Amount, Call, Inner, Result};

    /// Does a call in its span; counts it by its outcome, and how long it took.
    pub(crate) async fn told<T>(
        inner: &Inner,
        call: Call<'_>,
        outcome: fn(&T) -> &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started_ns = inner.clock.monotonic_ns();
        let span = span(call, &inner.location);
        let result = work.instrument(span.clone()).await;
        if let Call::Commit(_, attempts) = call
            && attempts.load(Ordering::Relaxed) > 1
        {
            span.record("attempts", attempts.load(Ordering::Relaxed));
        }
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
            // At every poll.
            Call::Refresh => debug_span!("registry_refresh", registry),
            Call::Commit(draft, _) => {
                info_span!("registry_commit", registry, actor = draft.actor, attempts = Empty)
            }
            Call::Fetch(version) => info_span!("registry_fetch", registry, %version),
            Call::Sweep => info_span!("registry_sweep", registry),
            Call::Doctor => info_span!("registry_doctor", registry),
        }
    }

    fn count(inner: &Inner, call: Call<'_>, started_ns: u64, outcome: &'static str) {
        let took_seconds = inner.clock.monotonic_ns().saturating_sub(started_ns) as f64 / 1e9;
        let registry = inner.location.clone();
        macro_rules! count {
            ($total:literal, $seconds:literal) => {{
                counter!($total, "registry" => registry.clone(), "outcome" => outcome).increment(1);
                histogram!($seconds, "registry" => registry).record(took_seconds);
            }};
        }
        match call {
            Call::Open => count!("mlops_registry_opens_total", "mlops_registry_open_seconds"),
            Call::Refresh => count!("mlops_registry_refreshes_total", "mlops_registry_refresh_seconds"),
            Call::Commit(..) => count!("mlops_registry_commits_total", "mlops_registry_commit_seconds"),
            Call::Fetch(_) => count!("mlops_registry_fetches_total", "mlops_registry_fetch_seconds"),
            Call::Sweep => count!("mlops_registry_sweeps_total", "mlops_registry_sweep_seconds"),
            Call::Doctor => count!("mlops_registry_checkups_total", "mlops_registry_checkup_seconds"),
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

    /// Tells the host's exporter what the names mean.
    pub(crate) fn describe() {
        for (total, seconds, what) in [
            ("mlops_registry_opens_total", "mlops_registry_open_seconds", "openings"),
            (
                "mlops_registry_refreshes_total",
                "mlops_registry_refresh_seconds",
                "readings of what others committed",
            ),
            ("mlops_registry_commits_total", "mlops_registry_commit_seconds", "commits"),
            ("mlops_registry_fetches_total", "mlops_registry_fetch_seconds", "fetched versions and files"),
            ("mlops_registry_sweeps_total", "mlops_registry_sweep_seconds", "sweeps"),
            ("mlops_registry_checkups_total", "mlops_registry_checkup_seconds", "runs of the doctor"),
        ] {
            describe_counter!(total, Unit::Count, format!("{what}, by outcome"));
            describe_histogram!(seconds, Unit::Seconds, format!("{what}: how long each took"));
        }
        for (total, unit, what) in [
            (
                "mlops_registry_races_lost_total",
                Unit::Count,
                "tries of a commit at a place that another writer took",
            ),
            ("mlops_registry_commits_read_total", Unit::Count, "commits that a refresh brought"),
            ("mlops_registry_uploaded_bytes_total", Unit::Bytes, "bytes of files that commits uploaded"),
            ("mlops_registry_fetched_bytes_total", Unit::Bytes, "bytes of files that were fetched or read"),
            ("mlops_registry_swept_bytes_total", Unit::Bytes, "bytes that sweeps removed"),
        ] {
            describe_counter!(total, unit, what);
        }
        describe_gauge!("mlops_registry_sequence", Unit::Count, "place of the last known commit in the log");
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

pub(crate) use told::{add, describe, known, told, told_now};
