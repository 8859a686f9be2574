//! Counts of both sides in the same buckets, coarse enough for their sizes.

/// Counts in the same buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Buckets {
    pub(crate) reference: Vec<u64>,
    pub(crate) live: Vec<u64>,
    /// Whether neighbours belong together, as those of numbers do. The last of categories is what the reference lacks.
    pub(crate) ordered: bool,
}

impl Buckets {
    /// Live values in buckets that are empty in the reference.
    pub(crate) fn unseen(&self) -> u64 {
        self.pairs().filter(|(reference, _)| *reference == 0).map(|(_, live)| live).sum()
    }

    /// The same joined so that at least five values of the smaller side are expected in each, and chi-squared
    /// approximations hold: neighbours of numbers, all rare categories together. One bucket is left of few values.
    pub(crate) fn pooled(&self) -> Self {
        let (n, m) = self.sizes();
        let share = n.min(m) as f64 / (n + m).max(1) as f64;
        let is_enough = |(reference, live): (u64, u64)| (reference + live) as f64 * share >= 5.0;
        let mut pooled = Self { ordered: self.ordered, ..Self::default() };
        let mut rest = (0, 0);
        for pair in self.pairs() {
            if !self.ordered && is_enough(pair) {
                pooled.push(pair);
                continue;
            }
            rest = (rest.0 + pair.0, rest.1 + pair.1);
            if self.ordered && is_enough(rest) {
                pooled.push(std::mem::take(&mut rest));
            }
        }
        match (pooled.reference.last_mut(), pooled.live.last_mut()) {
            (Some(reference), Some(live)) if self.ordered => {
                *reference += rest.0;
                *live += rest.1;
            }
            _ if rest != (0, 0) => pooled.push(rest),
            _ => {}
        }
        pooled
    }

    /// [`pooled`](Self::pooled), or, if that leaves one bucket, the two that differ most: numbers below and above a cut;
    /// categories that the reference has and others, or its most frequent one and the rest. A size of the change, whose
    /// evidence has to be exact.
    pub(crate) fn coarse(&self) -> Self {
        let pooled = self.pooled();
        if pooled.reference.len() >= 2 || self.reference.len() < 2 {
            return pooled;
        }
        let (n, m) = self.sizes();
        let one = if self.ordered {
            let mut sums = (0, 0);
            let below = self.pairs().map(|(reference, live)| {
                sums = (sums.0 + reference, sums.1 + live);
                sums
            });
            let apart = |(reference, live): &(u64, u64)| {
                (u128::from(*reference) * u128::from(m)).abs_diff(u128::from(*live) * u128::from(n))
            };
            below.max_by_key(apart)
        } else if self.unseen() > 0 {
            Some((0, self.unseen()))
        } else {
            self.pairs().max_by_key(|(reference, _)| *reference)
        };
        let one = one.unwrap_or((n, m));
        if one == (n, m) || one == (0, 0) {
            return pooled;
        }
        let mut two = Self { ordered: self.ordered, ..Self::default() };
        two.push(one);
        two.push((n - one.0, m - one.1));
        two
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

    fn buckets(reference: &[u64], live: &[u64], ordered: bool) -> Buckets {
        Buckets { reference: reference.to_vec(), live: live.to_vec(), ordered }
    }

    #[test]
    fn neighbours_are_joined_and_a_few_values_still_have_two_sides() {
        let tenths = [0, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 0];
        let mut beyond = [0; 12];
        beyond[11] = 20;
        let pooled = buckets(&tenths, &beyond, true).pooled();
        assert_eq!(pooled, buckets(&[1500, 1500, 2000], &[0, 0, 20], true));
        beyond[11] = 4;
        let wide = buckets(&tenths, &beyond, true);
        assert_eq!(wide.pooled().reference.len(), 1);
        assert_eq!(wide.coarse(), buckets(&[5000, 0], &[0, 4], true));
        let same = buckets(&[0, 100, 0], &[0, 3, 0], true);
        assert_eq!(same.coarse(), buckets(&[100], &[3], true));
        let unseen = buckets(&[900, 100, 0], &[0, 0, 4], false);
        assert_eq!(unseen.coarse(), buckets(&[0, 1000], &[4, 0], false));
        let seen = buckets(&[900, 100, 0], &[0, 4, 0], false);
        assert_eq!(seen.coarse(), buckets(&[900, 100], &[0, 4], false));
    }
}
