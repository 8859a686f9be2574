//! Host applications of the mlops crates.
#![forbid(unsafe_code)]

pub mod canary;
pub mod closed_loop;
pub mod learner;
pub mod shop;

/// The program of the README runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
