//! Host applications of the mlops crates.
#![forbid(unsafe_code)]

pub mod shop;
