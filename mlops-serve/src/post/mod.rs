//! From scores to answers: calibration, thresholds, the best few.
//!
//! Calibration is what `mlops-core` fits and a model version carries: one type, so that an endpoint cannot read it in
//! another sense than training wrote it.
//!
//! A model version brings its calibration and its threshold, and the endpoint runs them
//! ([`Loader`](crate::endpoint::Loader)). [`top_k`] stays a function to call on the scores of
//! [`Endpoint::score_rows`](crate::endpoint::Endpoint::score_rows): how many are shown, and what is left out before, is
//! the page's business and not the model's, and what is captured are the scores of all candidates. A model that picks the
//! best itself goes through [`Endpoint::run`](crate::endpoint::Endpoint::run).
//!
//! ```
//! use mlops_core::evaluation::calibration::Platt;
//! use mlops_serve::post::{Calibration, Threshold, top_k};
//!
//! let calibration = Calibration::from(Platt { slope: 1.5, intercept: -0.2 });
//! let threshold = Threshold::new(0.5)?;
//! let probability = calibration.probability(0.4);
//! assert!((probability - 0.598_687_660_112_452).abs() < 1e-15);
//! assert!(threshold.decides(probability));
//!
//! assert_eq!(top_k(&[0.1, 0.9, 0.4, 0.9], 2), [(1, 0.9), (3, 0.9)]);
//! # Ok::<(), mlops_serve::Error>(())
//! ```

mod threshold;
mod top;

pub use mlops_core::evaluation::calibration::Calibration;
pub use threshold::Threshold;
pub use top::top_k;
