//! What an implementation of yours has to pass: one suite for each contract of this crate, to run in your tests.
//!
//! | suite | checks |
//! |---|---|
//! | [`check_clock`] | a [`Clock`](crate::Clock) |
//! | [`check_event_sink`] | an [`EventSink`](crate::EventSink) |
//! | [`check_observer`] | an [`Observer`](crate::pipeline::Observer) of pipelines |
//! | [`check_artifact`] | an [`Artifact`](crate::pipeline::Artifact) |
//! | [`check_model_source`] | a [`ModelSource`](crate::ModelSource) |
//!
//! Each gives an error of kind `Data` that says which clause is broken and how. A suite that passes is no proof: it
//! checks what can be seen from outside. That a clock takes no lock and allocates nothing, it cannot see.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use mlops_core::pipeline::Blob;
//! use mlops_core::{EventLog, SystemClock, conformance};
//!
//! conformance::check_clock(&SystemClock::new())?;
//! conformance::check_event_sink(Arc::new(EventLog::default()), Duration::from_secs(60))?;
//! conformance::check_artifact(&Blob::from("weights"), PartialEq::eq)?;
//! // Equal maps, but not the same bytes each time: later steps would miss the cache.
//! let chance: std::collections::HashMap<u32, u32> = (0..64).map(|key| (key, key)).collect();
//! let error = conformance::check_artifact(&chance, PartialEq::eq).unwrap_err();
//! assert!(error.to_string().contains("`encode` gives other bytes for the same value"));
//! # Ok::<(), mlops_core::Error>(())
//! ```

mod artifact;
mod burst;
mod clock;
mod event_sink;
mod model_source;
mod observer;

use std::any::Any;

pub use artifact::check_artifact;
pub use clock::check_clock;
pub use event_sink::check_event_sink;
pub use model_source::check_model_source;
pub use observer::check_observer;

use crate::{Error, ErrorKind, Result};

/// How many threads call at once.
const THREADS: usize = 4;

fn require(holds: bool, broken: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::data(broken())) }
}

/// Whether the call failed with this kind of error.
fn refused<T>(call: Result<T>, kind: ErrorKind, what: &str) -> Result<()> {
    match call {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => {
            let found = error.kind();
            Err(Error::data(format!("{what}: the error is of kind {found:?}, not {kind:?}"))
                .with_source(error))
        }
        Ok(_) => Err(Error::data(format!("{what}: the call succeeds, not fails with {kind:?}"))),
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
