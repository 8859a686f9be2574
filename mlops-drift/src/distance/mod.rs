//! How far apart are two distributions over the same buckets?
//!
//! All take weights: counts or shares, non-negative and finite, with a positive sum; they are normalised
//! first. Buckets that are empty in both change nothing.

mod binned;

pub use binned::{jensen_shannon_distance_base2, jensen_shannon_divergence_nats, psi, smoothed};
