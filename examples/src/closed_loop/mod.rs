//! The closed loop: a web shop's conversion model through a year, in one process.
//!
//! ```text
//! training pipeline -> registry -> endpoint -> captured records -> monitors -> alerts -> training pipeline
//!                                      ^ challenger on trial: promoted or rolled back
//! ```
//!
//! - `host`: the year: trains, serves month after month, decides.
//! - `retrain`: new models, on what they are trained, how their trials begin.
//! - `training`: rows in, a registered version out: one pipeline for the first model and for each new one.
//! - `steps`: what its steps compute.
//! - `month`: a month of sessions, answered one by one; labels come a week late.
//! - `trial`: a challenger's share of the traffic, and what the registry tells of its end.
//! - `watch`: what to tell at the end of a month, and whether to train.
//! - `state`: where the loop stands, so that it can be killed anywhere.

mod calendar;
mod host;
mod month;
mod options;
mod retrain;
mod runtime;
mod state;
mod steps;
mod story;
mod summary;
mod training;
mod trial;
mod watch;

pub use host::run;
pub use options::{Options, RuntimeChoice};
pub use story::Story;
pub use summary::{Comparison, FeatureDrift, MonthSummary, Move, Quality, Registered, Report, Summary};
