//! Anytime bounds on sums: the mathematics below the confidence sequences of this module.
//!
//! A bound `u(v)` holds for a sum of deviations `S_t` with intrinsic time `V_t` if
//! `P(some t ever has S_t >= u(V_t)) <= alpha`. Dividing by the number of rows gives the radius of a confidence
//! sequence for the mean. Choose by what is known about the tails:
//!
//! | bound | for | tightest |
//! |---|---|---|
//! | [`NormalMixture`] | normal or sub-Gaussian sums | around one chosen time |
//! | [`GammaExponentialMixture`] | bounded or sub-exponential sums, variance estimated on the way | around one chosen time |
//! | [`PolyStitching`] | sub-Gaussian or sub-gamma sums | in the very long run |

mod gamma_exponential;
mod multinomial;
mod normal;
mod poly_stitching;

pub use gamma_exponential::GammaExponentialMixture;
pub(super) use multinomial::log_multinomial_mixture;
pub use normal::NormalMixture;
pub(super) use normal::{best_rho, log_e_value_and_radius};
pub use poly_stitching::PolyStitching;

use serde::{Deserialize, Serialize};

use super::settings::{check_finite, check_open};
use crate::Result;

/// Whether a bound holds above, or above and below at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// `S_t` stays below the bound.
    One,
    /// `S_t` stays below the bound and above its negative.
    #[default]
    Two,
}

/// A sum and an intrinsic time that can be.
fn check_point(s: f64, v: f64) -> Result<()> {
    check_finite("s", s)?;
    if v == 0.0 { Ok(()) } else { check_open("v", v, 0.0, f64::INFINITY) }
}
