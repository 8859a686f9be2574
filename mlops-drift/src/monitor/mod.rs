//! Tables against a baseline: which columns changed, by how much, and does it matter?
//!
//! ```text
//! reference batches ──► Baseline ──► Monitor ◄── live batches        one thread or many, merged
//!                                       │
//!                                       ▼
//!                                  DriftReport ──► events ──► AlertPolicy
//! ```

mod baseline;
mod buckets;
mod column;
mod options;
mod report;
mod rule;
mod text;
mod window;

pub use baseline::{Baseline, BaselineOptions};
pub use options::{Bands, CheckOptions};
pub use report::{ColumnReport, DriftReport, Measure, Problem};
pub use rule::{ColumnDistance, ColumnTest, Decision, Rule};
pub use window::{Monitor, MonitorState};
