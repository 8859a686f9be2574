//! From scores to answers: calibration, thresholds, the best few.
//!
//! ```
//! use mlops_serve::post::{Calibration, Threshold, top_k};
//!
//! let calibration = Calibration::platt(1.5, -0.2)?;
//! let threshold = Threshold::new(0.5)?;
//! let probability = calibration.apply(0.4);
//! assert!((probability - 0.598_687_660_112_452).abs() < 1e-15);
//! assert!(threshold.decides(probability));
//!
//! assert_eq!(top_k(&[0.1, 0.9, 0.4, 0.9], 2), [(1, 0.9), (3, 0.9)]);
//! # Ok::<(), mlops_serve::Error>(())
//! ```

mod calibration;
mod top;

pub use calibration::{Calibration, Threshold};
pub use top::top_k;
