//! Randomness as a value that is passed in, so that a run replays.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The seed of everything random in a run.
///
/// [`derive`](Seed::derive) gives independent streams by name, so that adding one consumer does not shift
/// the numbers of another. The generator is ChaCha8: fast, and the same on every platform and version.
///
/// ```
/// use mlops_core::Seed;
/// use rand::RngExt;
///
/// let seed = Seed::new(42);
/// let a: f64 = seed.derive("split").rng().random();
/// let b: f64 = seed.derive("split").rng().random();
/// assert_eq!(a, b);
/// assert_ne!(seed.derive("split"), seed.derive("train"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

impl Seed {
    /// A seed with this value.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The value.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// An independent seed for the consumer of this name.
    #[must_use]
    pub fn derive(self, name: &str) -> Self {
        let digest = Sha256::new().chain_update(self.0.to_le_bytes()).chain_update(name).finalize();
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        Self(u64::from_le_bytes(head))
    }

    /// The generator that starts at this seed.
    pub fn rng(self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.0)
    }
}
