//! Keeps a runtime from taking the caller with it: time limits, bulkheads, panics.
//!
//! [`IsolatedRuntime`] computes on threads of its own. A call that takes too long is given up; the thread it
//! hangs in is left behind and replaced, up to [`hung_max`](IsolationSettings::hung_max) times. So a runtime
//! that hangs costs its callers one time limit each, a limited number of threads, and other models nothing.
//!
//! Handing a call to another thread and back costs some ten microseconds. Models that are trusted do without:
//! an [`Endpoint`](crate::endpoint::Endpoint) catches panics, errors and NaN in the caller's thread.
//!
//! ```
//! use std::time::Duration;
//! use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};
//! use mlops_serve::runtime::RuntimeExt;
//! # use mlops_core::{ElementType, ModelSignature, TensorSpec};
//! # use mlops_serve::tensor::TensorView;
//! # let signature = ModelSignature {
//! #     inputs: vec![TensorSpec::batch("x", ElementType::F32, 1)],
//! #     outputs: vec![TensorSpec::batch("y", ElementType::F32, 1)],
//! # };
//! # let hangs = mlops_serve::runtime::FnRuntime::new("sleepy", signature, |_, _| {
//! #     std::thread::sleep(Duration::from_millis(50));
//! #     Ok(())
//! # })?;
//! let settings = IsolationSettings::default().time_limit(Duration::from_millis(5));
//! let model = IsolatedRuntime::new(hangs, settings)?;
//! let error = model.predict(&[TensorView::new(&[1.0_f32], [1, 1])?]).unwrap_err();
//! assert_eq!(error.to_string(), "sleepy gave no answer within 5 ms");
//! assert!(error.is_retryable());
//! # Ok::<(), mlops_serve::Error>(())
//! ```

mod pool;
mod runtime;

pub use runtime::{IsolatedRuntime, IsolationSettings};
