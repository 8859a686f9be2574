//! Metrics against recorded values of the tools that people use, and the laws that they keep.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are outside `#[test]` functions, where clippy looks"
)]

mod bad_input;
mod bias;
mod binary;
mod business;
mod calibration;
mod gate;
mod interval;
mod multiclass;
mod oracle;
mod paired;
mod ranking;
mod regression;
mod slices;
