//! Counts of both sides in the same buckets, coarse enough for their sizes.

use crate::Result;
use crate::two_sample::{TestResult, compare_rates};

/// Counts in the same buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    pub(crate) reference: Vec<u64>,
    pub(crate) live: Vec<u64>,
    pub(crate) kind: BucketKind,
}

/// What the buckets are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BucketKind {
    /// Neighbours belong together.
    #[default]
    Numbers,
    /// The last bucket is what the reference lacks; so many categories it has once.
    Categories { once: u64 },
    /// The last bucket holds rare categories, and fewer than five are expected in it.
    ThinRest,
}

impl Buckets {
    /// Live values in buckets that are empty in the reference.
    pub(crate) fn unseen(&self) -> u64 {
        self.pairs().filter(|(reference, _)| *reference == 0).map(|(_, live)| live).sum()
    }

    /// The same joined so that at least five values of the smaller side are expected in each, and chi-squared
    /// approximations hold: neighbours of numbers; all rare categories with what the reference lacks, which may still be
    /// too few: then they are the last bucket, and marked. One bucket is left of few values.
    pub(crate) fn pooled(&self) -> Self {
        let (n, m) = self.sizes();
        let share = n.min(m) as f64 / (n + m).max(1) as f64;
        let is_enough = |(reference, live): (u64, u64)| (reference + live) as f64 * share >= 5.0;
        let ordered = self.kind == BucketKind::Numbers;
        let mut pooled = Self::default();
        let mut rest = (0, 0);
        for (index, pair) in self.pairs().enumerate() {
            // What the reference lacks are many categories, each of them rare.
            if !ordered && is_enough(pair) && index + 1 < self.reference.len() {
                pooled.push(pair);
                continue;
            }
            rest = (rest.0 + pair.0, rest.1 + pair.1);
            if ordered && is_enough(rest) {
                pooled.push(std::mem::take(&mut rest));
            }
        }
        match (pooled.reference.last_mut(), pooled.live.last_mut()) {
            (Some(reference), Some(live)) if ordered => {
                *reference += rest.0;
                *live += rest.1;
            }
            _ if rest != (0, 0) => {
                if !ordered && !is_enough(rest) {
                    pooled.kind = BucketKind::ThinRest;
                }
                pooled.push(rest);
            }
            _ => {}
        }
        pooled
    }

    /// [`pooled`](Self::pooled), or, if that leaves one bucket, the two that tell most of the size of a change, and that
    /// they were chosen: numbers below and above a cut; the most frequent category and the rest, or what the reference
    /// lacks, for which it stands in by what it has once (I. Good, 1953), and the rest.
    pub(crate) fn coarse(&self) -> Result<(Self, bool)> {
        let pooled = self.pooled();
        if pooled.reference.len() >= 2 || self.reference.len() < 2 {
            return Ok((pooled, false));
        }
        let (n, m) = self.sizes();
        let splits: Vec<(u64, u64)> = match self.kind {
            BucketKind::Categories { once } => {
                let known = self.reference.len() - 1;
                let commonest = self.pairs().take(known).max_by_key(|(reference, live)| reference + live);
                commonest.into_iter().chain([(once.min(n), self.live[known])]).collect()
            }
            _ => {
                let mut sums = (0, 0);
                let below = self.pairs().map(|(reference, live)| {
                    sums = (sums.0 + reference, sums.1 + live);
                    sums
                });
                let apart = |(reference, live): &(u64, u64)| {
                    (u128::from(*reference) * u128::from(m)).abs_diff(u128::from(*live) * u128::from(n))
                };
                below.max_by_key(apart).into_iter().collect()
            }
        };
        let mut best: Option<(f64, (u64, u64))> = None;
        for split in splits.into_iter().filter(|split| *split != (n, m) && *split != (0, 0)) {
            let p_value = compare_rates((split.0, n), (split.1, m))?.p_value;
            if best.is_none_or(|(least, _)| p_value < least) {
                best = Some((p_value, split));
            }
        }
        let Some((_, one)) = best else { return Ok((pooled, false)) };
        let mut two = Self::default();
        two.push(one);
        two.push((n - one.0, m - one.1));
        Ok((two, true))
    }

    /// The p-value of a test of pooled counts. Fisher's test (z for large counts) judges two buckets, and a thin rest,
    /// beside which the test judges the others; then the smaller p-value counts twice, as it does after a choice of two
    /// splits.
    pub(crate) fn p_value(
        &self,
        chosen: bool,
        test: impl Fn(&[u64], &[u64]) -> Result<TestResult>,
    ) -> Result<f64> {
        let (n, m) = self.sizes();
        let exact = |index: usize| {
            compare_rates((self.reference[index], n), (self.live[index], m)).map(|result| result.p_value)
        };
        let p_value = match self.reference.len() {
            0 | 1 => 1.0,
            2 => exact(0)? * if chosen { 2.0 } else { 1.0 },
            len if self.kind == BucketKind::ThinRest => {
                let (was, is) = (&self.reference[..len - 1], &self.live[..len - 1]);
                // One side may have nothing but the rest.
                let is_empty = [was, is].iter().any(|counts| counts.iter().all(|count| *count == 0));
                let others = if is_empty { 1.0 } else { test(was, is)?.p_value };
                2.0 * exact(len - 1)?.min(others)
            }
            _ => test(&self.reference, &self.live)?.p_value,
        };
        Ok(p_value.min(1.0))
    }

    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.reference.iter().sum(), self.live.iter().sum())
    }

    fn pairs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.reference.iter().copied().zip(self.live.iter().copied())
    }

    fn push(&mut self, (reference, live): (u64, u64)) {
        self.reference.push(reference);
        self.live.push(live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(reference: &[u64], live: &[u64], kind: BucketKind) -> Buckets {
        Buckets { reference: reference.to_vec(), live: live.to_vec(), kind }
    }

    #[test]
    fn neighbours_are_joined_and_a_few_values_still_have_two_sides() {
        let numbers = BucketKind::Numbers;
        let tenths = [0, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 0];
        let mut beyond = [0; 12];
        beyond[11] = 20;
        let pooled = buckets(&tenths, &beyond, numbers).pooled();
        assert_eq!(pooled, buckets(&[1500, 1500, 2000], &[0, 0, 20], numbers));
        beyond[11] = 4;
        let wide = buckets(&tenths, &beyond, numbers);
        assert_eq!(wide.pooled().reference.len(), 1);
        assert_eq!(wide.coarse().unwrap(), (buckets(&[5000, 0], &[0, 4], numbers), true));
        let same = buckets(&[0, 100, 0], &[0, 3, 0], numbers);
        assert_eq!(same.coarse().unwrap(), (buckets(&[100], &[3], numbers), false));
    }

    #[test]
    fn rare_categories_are_judged_exactly() {
        let once = BucketKind::Categories { once: 0 };
        let typo = buckets(&[50_000, 50_000, 0], &[500, 499, 1], once).pooled();
        assert_eq!(typo.kind, BucketKind::ThinRest);
        let p_value = typo.p_value(false, crate::two_sample::chi_squared).unwrap();
        assert!((0.015..0.025).contains(&p_value), "{p_value}");
        let (new, chosen) = buckets(&[900, 100, 0], &[0, 0, 4], once).coarse().unwrap();
        assert_eq!((new.live, chosen), (vec![4, 0], true));
        // 400 of 1000 once: two unseen of four are no news.
        let reference = [&[600][..], &[1; 400], &[0]].concat();
        let live = [&[2][..], &[0; 400], &[2]].concat();
        let long_tail = buckets(&reference, &live, BucketKind::Categories { once: 400 });
        let (split, chosen) = long_tail.coarse().unwrap();
        assert!(split.p_value(chosen, crate::two_sample::chi_squared).unwrap() > 0.5);
    }
}
