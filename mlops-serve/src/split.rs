//! Which arm answers which key: sticky, salted, and moving as few keys as can be when weights change.

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

/// A sticky split of keys between named arms in proportion to their weights.
///
/// Weighted rendezvous hashing: arm `i` draws `e_i = -ln(u_i) / w_i`, where `u_i` in (0, 1] is a hash of
/// the salt, the arm's name and the key; the smallest draw wins, which happens with probability
/// `w_i / (w_1 + .. + w_n)`. A key keeps its arm for as long as the weights stand. When one weight grows,
/// the only keys that move are those that move to that arm; when an arm leaves, only its own keys move.
/// Two splits with different salts are independent, so that experiments do not share their luck.
///
/// The hash is XXH3-64, the same on every platform and in every version of this crate. The cost is one
/// hash of the key plus one multiplication hash and one logarithm an arm; a split with one arm costs nothing.
///
/// Source: Thaler and Ravishankar, *Using name-based mappings to increase hit rates*, 1998; with weights:
/// Schindelhauer and Schomaker, *Weighted distributed hash tables*, 2005.
///
/// ```
/// use mlops_serve::Split;
///
/// let split = Split::new("checkout-2026-05", [("champion", 0.95), ("challenger", 0.05)])?;
/// let arm = split.assign(b"user-17");
/// assert_eq!(arm, split.assign(b"user-17"));
/// assert_eq!(split.propensity(1), 0.05);
///
/// // Growing the challenger takes keys from the champion and gives none back.
/// let wider = Split::new("checkout-2026-05", [("champion", 0.75), ("challenger", 0.25)])?;
/// let stays = |key: u32| split.assign(&key.to_le_bytes()) == 0 || wider.assign(&key.to_le_bytes()) == 1;
/// assert!((0..1000).all(stays));
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Declared", into = "Declared")]
pub struct Split {
    salt: String,
    salt_hash: u64,
    arms: Vec<Arm>,
}

#[derive(Clone, Debug, PartialEq)]
struct Arm {
    name: String,
    hash: u64,
    propensity: f64,
    /// `1 / weight`, infinite for an arm that takes no key.
    scale: f64,
}

impl Split {
    /// A split between these arms with weights in any unit: 95 and 5 are as good as 0.95 and 0.05.
    ///
    /// # Errors
    /// `Invalid` if there is no arm, two share a name, a weight is negative or not finite, or all are zero.
    pub fn new(
        salt: impl Into<String>,
        arms: impl IntoIterator<Item = (impl Into<String>, f64)>,
    ) -> Result<Self> {
        let salt = salt.into();
        let arms: Vec<(String, f64)> = arms.into_iter().map(|(name, weight)| (name.into(), weight)).collect();
        if arms.is_empty() {
            return Err(Error::invalid("a split with no arm cannot answer: name at least one"));
        }
        let total: f64 = arms.iter().map(|(_, weight)| weight).sum();
        for (index, (name, weight)) in arms.iter().enumerate() {
            if !(weight.is_finite() && *weight >= 0.0) {
                return Err(Error::invalid(format!(
                    "arm `{name}` has weight {weight}: want a finite number >= 0"
                )));
            }
            if arms[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::invalid(format!("arm `{name}` is declared twice: names are unique")));
            }
        }
        if total == 0.0 {
            return Err(Error::invalid("all weights of a split are 0: want at least one above"));
        }
        if !total.is_finite() {
            return Err(Error::invalid(format!(
                "the weights of a split sum to {total}: want weights whose sum is finite, such as shares of 1"
            )));
        }
        let arm = |(name, weight): (String, f64)| Arm {
            hash: XxHash3_64::oneshot(name.as_bytes()),
            propensity: weight / total,
            scale: total / weight,
            name,
        };
        let salt_hash = XxHash3_64::oneshot(salt.as_bytes());
        Ok(Self { salt, salt_hash, arms: arms.into_iter().map(arm).collect() })
    }

    /// The place of the arm that answers this key.
    #[inline]
    pub fn assign(&self, key: &[u8]) -> usize {
        if self.arms.len() == 1 {
            return 0;
        }
        let key = XxHash3_64::oneshot_with_seed(self.salt_hash, key);
        let mut winner = (0, f64::INFINITY);
        for (index, arm) in self.arms.iter().enumerate() {
            let draw = -unit(mix(key ^ arm.hash)).ln() * arm.scale;
            if draw < winner.1 {
                winner = (index, draw);
            }
        }
        winner.0
    }

    /// The probability with which this arm is chosen; 0 if there is no such arm.
    pub fn propensity(&self, arm: usize) -> f64 {
        self.arms.get(arm).map_or(0.0, |arm| arm.propensity)
    }

    /// The names and propensities of the arms, in order.
    pub fn arms(&self) -> impl ExactSizeIterator<Item = (&str, f64)> {
        self.arms.iter().map(|arm| (arm.name.as_str(), arm.propensity))
    }

    /// The salt.
    pub fn salt(&self) -> &str {
        &self.salt
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit of the input moves every bit out.
#[inline]
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A hash as a number in (0, 1].
#[inline]
fn unit(hash: u64) -> f64 {
    ((hash >> 11) + 1) as f64 * (1.0 / (1_u64 << 53) as f64)
}

#[derive(Serialize, Deserialize)]
struct Declared {
    salt: String,
    arms: Vec<(String, f64)>,
}

impl TryFrom<Declared> for Split {
    type Error = Error;

    fn try_from(declared: Declared) -> Result<Self> {
        Self::new(declared.salt, declared.arms)
    }
}

impl From<Split> for Declared {
    fn from(split: Split) -> Self {
        let arms = split.arms.into_iter().map(|arm| (arm.name, arm.propensity)).collect();
        Self { salt: split.salt, arms }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(count: u64) -> impl Iterator<Item = [u8; 8]> {
        (0..count).map(u64::to_le_bytes)
    }

    #[test]
    fn shares_follow_the_weights() {
        let split = Split::new("s", [("a", 0.7), ("b", 0.25), ("c", 0.05), ("off", 0.0)]).unwrap();
        let mut counts = [0_f64; 4];
        let total = 100_000.0;
        keys(100_000).for_each(|key| counts[split.assign(&key)] += 1.0);
        let chi2: f64 = (0..3)
            .map(|arm| {
                let expected = total * split.propensity(arm);
                (counts[arm] - expected).powi(2) / expected
            })
            .sum();
        // The 99.9 % quantile of chi-square with two degrees of freedom.
        assert!(chi2 < 13.8, "{counts:?}");
        assert_eq!(counts[3], 0.0);
    }

    #[test]
    fn salts_are_independent() {
        let one = Split::new("one", [("a", 1.0), ("b", 1.0)]).unwrap();
        let two = Split::new("two", [("a", 1.0), ("b", 1.0)]).unwrap();
        let agree = keys(100_000).filter(|key| one.assign(key) == two.assign(key)).count();
        // Five standard deviations of a fair coin.
        assert!(agree.abs_diff(50_000) < 800, "{agree}");
    }

    #[test]
    fn assignment_never_changes_between_releases() {
        let split = Split::new("frozen", [("champion", 0.5), ("b", 0.3), ("c", 0.2)]).unwrap();
        let arms: String = keys(40).map(|key| char::from(b'0' + split.assign(&key) as u8)).collect();
        assert_eq!(arms, FROZEN);
    }

    const FROZEN: &str = "2122111022000120000221002211010021020001";

    #[test]
    fn bad_weights_are_named() {
        let check = |arms: &[(&str, f64)], words: &str| {
            let error = Split::new("s", arms.iter().copied()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        check(&[], "no arm");
        check(&[("a", 0.0)], "all weights of a split are 0");
        check(&[("a", -1.0)], "`a` has weight -1");
        check(&[("a", f64::NAN)], "`a` has weight NaN");
        check(&[("a", 1.0), ("a", 1.0)], "declared twice");
        check(&[("a", f64::MAX), ("b", f64::MAX)], "sum to inf");
    }

    proptest! {
        #[test]
        fn growing_an_arm_moves_keys_to_it_alone(
            weights in proptest::collection::vec(0.01_f64..1.0, 2..6),
            growth in 1.0_f64..20.0,
            key: u64,
        ) {
            let named = |weights: &[f64]| {
                let arms = weights.iter().enumerate().map(|(index, weight)| (index.to_string(), *weight));
                Split::new("s", arms).unwrap()
            };
            let mut grown = weights.clone();
            grown[0] *= growth;
            let key = key.to_le_bytes();
            let (before, after) = (named(&weights).assign(&key), named(&grown).assign(&key));
            prop_assert!(after == before || after == 0, "{before} -> {after}");
        }

        #[test]
        fn serde_round_trips(key: u64, share in 0.01_f64..0.99) {
            let split = Split::new("s", [("a", 1.0 - share), ("b", share)]).unwrap();
            let back: Split = serde_json::from_str(&serde_json::to_string(&split).unwrap()).unwrap();
            prop_assert_eq!(split.assign(&key.to_le_bytes()), back.assign(&key.to_le_bytes()));
        }
    }
}
