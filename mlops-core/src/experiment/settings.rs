//! Checks that the settings of several tests share.

use crate::{Error, Result};

/// An error probability strictly between 0 and 1.
pub(super) fn check_alpha(alpha: f64) -> Result<()> {
    check_open("alpha", alpha, 0.0, 1.0)
}

/// A setting strictly between two limits.
pub(super) fn check_open(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if low < value && value < high {
        return Ok(());
    }
    Err(Error::invalid(format!("{name} is {value}: it must lie between {low} and {high}, both excluded")))
}

/// A finite setting.
pub(super) fn check_finite(name: &str, value: f64) -> Result<()> {
    check_open(name, value, f64::NEG_INFINITY, f64::INFINITY)
}
