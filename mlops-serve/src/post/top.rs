//! The best few of many scores.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The places and scores of the `k` largest scores, best first. Of equal scores the earlier one is better;
/// NaN is left out. Exact, `O(n log k)` time and `O(k)` memory.
///
/// ```
/// use mlops_serve::post::top_k;
///
/// assert_eq!(top_k(&[3.0, f64::NAN, 5.0], 10), [(2, 5.0), (0, 3.0)]);
/// assert!(top_k(&[], 3).is_empty());
/// ```
pub fn top_k(scores: &[f64], k: usize) -> Vec<(usize, f64)> {
    let mut best: BinaryHeap<Ranked> = BinaryHeap::with_capacity(k.min(scores.len()));
    for (place, &score) in scores.iter().enumerate().filter(|(_, score)| !score.is_nan()) {
        let candidate = Ranked { place, score };
        if best.len() < k {
            best.push(candidate);
        } else if let Some(mut worst) = best.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }
    best.into_sorted_vec().into_iter().map(|Ranked { place, score }| (place, score)).collect()
}

/// Orders the better before the worse.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    place: usize,
    score: f64,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        // `+ 0.0` makes the two zeros one.
        (other.score + 0.0).total_cmp(&(self.score + 0.0)).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_head_of_a_stable_sort(scores in proptest::collection::vec(prop_oneof![Just(0.0), Just(-0.0), -2.0_f64..2.0, Just(f64::NAN)], 0..60), k in 0_usize..70) {
            let mut sorted: Vec<(usize, f64)> =
                scores.iter().copied().enumerate().filter(|(_, score)| !score.is_nan()).collect();
            sorted.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap());
            sorted.truncate(k);
            prop_assert_eq!(top_k(&scores, k), sorted);
        }
    }
}
