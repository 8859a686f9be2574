//! The distributions that the tests need and `statrs` lacks.

mod binomial;
mod cramer;
mod kolmogorov;
mod tails;

pub(crate) use binomial::hypergeometric;
pub use cramer::cramer_von_mises_sf;
pub use kolmogorov::{kolmogorov_sf, kstwo_sf, smirnov_sf};
pub(crate) use tails::{chi_squared_sf, chi_squared_upper_quantile, normal_sf};
