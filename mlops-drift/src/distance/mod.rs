//! How far apart are two distributions?
//!
//! [`wasserstein`], [`wasserstein_normed`] and [`energy`] take samples. All others take weights of the same
//! buckets: counts or shares, non-negative and finite, with a positive sum; they are
//! normalised first. Buckets that are empty in both change nothing.
//!
//! How much is much? [`compare`] holds a distance against what chance makes of two samples of these sizes;
//! [`compare_samples`] does so for distances of samples, by relabelling; [`chunk_limits`] holds it against the
//! reference's own chunks.

mod binned;
mod chance;
mod chunks;
mod evidently;
mod relabel;
mod samples;

pub use binned::{
    hellinger, jensen_shannon_distance_base2, jensen_shannon_distance_nats, jensen_shannon_divergence_bits,
    jensen_shannon_divergence_nats, kullback_leibler_nats, l_infinity, psi, smoothed, total_variation,
};
pub use chance::{BinnedDistance, DistanceResult, compare};
pub use chunks::chunk_limits;
pub use evidently::{
    EvidentlyMethod, chi_squared_p_as_evidently, filled_shares, g_test_p_as_evidently, psi_as_evidently,
    wasserstein_normed_as_evidently,
};
pub use relabel::{SampleDistance, SampleDistanceResult, compare_samples};
pub use samples::{energy, wasserstein, wasserstein_normed};
