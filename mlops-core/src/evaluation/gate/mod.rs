//! May this model go on? Rules as data, a verdict that says why.
//!
//! ```
//! use mlops_core::evaluation::{Evaluation, Gate, Metric};
//!
//! let gate: Gate = serde_json::from_str(
//!     r#"{ "rules": [
//!         { "metric": "rows", "check": { "at_least": 1000 } },
//!         { "metric": "roc_auc", "check": { "at_least": 0.85 }, "evidence": { "proven": 0.95 } },
//!         { "metric": "dppl", "slice": "visitor=returning", "check": { "between": [-0.1, 0.1] } },
//!         { "metric": "roc_auc", "check": { "no_worse_than": { "reference": "champion", "margin": 0.005 } } }
//!     ] }"#,
//! )?;
//! let champion = Evaluation::new(5000).with("roc_auc", Metric::new(0.90));
//! let candidate = Evaluation::new(5000)
//!     .with("roc_auc", Metric::new(0.91).with_std_error(Some(0.004)))
//!     .with_slice("visitor=returning", 4000, [("dppl", Metric::new(0.04))]);
//! let verdict = gate.against().champion(&champion).check(&candidate);
//! assert!(verdict.passed(), "{verdict}");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod bounds;
mod rule;
mod verdict;

pub use rule::{Check, Evidence, Reference, Rule};
pub use verdict::{Against, Gate, Outcome, Status, Verdict};
