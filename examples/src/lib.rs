//! Host applications of the mlops crates.
#![forbid(unsafe_code)]

pub mod closed_loop;
pub mod learner;
pub mod shop;
