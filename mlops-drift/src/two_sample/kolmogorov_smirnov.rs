//! The two-sample Kolmogorov-Smirnov test.

use super::{Alternative, Method, TestResult};
use crate::special::kstwo_sf;
use crate::{Error, Result, Sample};

/// The two-sided Kolmogorov-Smirnov test, exact up to 10 000 values a sample: see
/// [`kolmogorov_smirnov_with`].
///
/// ```
/// use mlops_drift::{Sample, two_sample::kolmogorov_smirnov};
///
/// let a = Sample::new([1.0, 2.0, 3.0, 4.0])?;
/// let b = Sample::new([3.0, 4.0, 5.0, 6.0])?;
/// let result = kolmogorov_smirnov(&a, &b)?;
/// assert_eq!(result.statistic, 0.5);
/// assert!((result.p_value - 54.0 / 70.0).abs() < 1e-15);
/// # Ok::<(), mlops_drift::Error>(())
/// ```
///
/// # Errors
/// None with this method; the signature is that of all tests.
pub fn kolmogorov_smirnov(a: &Sample, b: &Sample) -> Result<TestResult> {
    kolmogorov_smirnov_with(a, b, Alternative::TwoSided, Method::Auto)
}

/// The Kolmogorov-Smirnov test: D, the largest difference of the two empirical distribution functions
/// (A. Kolmogorov, 1933; N. Smirnov, 1939; J. Hodges, The Significance Probability of the Smirnov
/// Two-Sample Test, 1958).
///
/// * Domain: any ordered numbers, infinities too. Ties are exact in D and make the p-value conservative.
/// * D is computed in whole numbers, so it is the nearest `f64` to the true fraction.
/// * p-value: `Auto` is exact if no sample has more than 10 000 values. `Exact` counts lattice paths: O(n)
///   for equal sizes, else O(n m D); its terms are positive, so far tails keep their digits. Asymptotic:
///   the one-sample law at n m / (n + m) ([`kstwo_sf`]), one-sided Hodges' formula.
/// * Effect: D itself, negative if the first distribution function lies below the second where they differ
///   most.
/// * One-sided, as in SciPy: `Less` means that the first distribution function lies below, so that the first sample tends
///   to be *larger*, unlike in [`mann_whitney`](super::mann_whitney).
/// * Cost: O(n + m) on sorted samples.
///
/// # Errors
/// `Unsupported` if `Exact` is asked for and the lattice has more than 10^10 points.
pub fn kolmogorov_smirnov_with(
    a: &Sample,
    b: &Sample,
    alternative: Alternative,
    method: Method,
) -> Result<TestResult> {
    let (n, m) = (a.len() as u64, b.len() as u64);
    let gaps = Gaps::of_sorted(a.sorted(), b.sorted());
    // Beyond the last value of the shorter list the difference only shrinks towards 0.
    let gap = gaps.of(alternative);
    let p_value = p_value(gap, n, m, alternative, method)?;
    let statistic = gap as f64 / (n as f64 * m as f64);
    let effect = if gaps.above >= gaps.below { statistic } else { -statistic };
    Ok(TestResult {
        test: "kolmogorov_smirnov".into(),
        statistic,
        p_value,
        effect: if alternative == Alternative::TwoSided { effect } else { statistic },
        sizes: (n, m),
    })
}

/// The largest differences of two empirical distribution functions, in units of 1/(n m).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Gaps {
    /// First above second.
    pub(crate) above: u128,
    /// First below second.
    pub(crate) below: u128,
}

impl Gaps {
    /// Those of two samples. First at some places only; then, between two of them, if the counts there leave room for
    /// more than was found: seldom, for a difference moves little within a block.
    fn of_sorted(x: &[f64], y: &[f64]) -> Self {
        let (n, m) = (x.len() as u64, y.len() as u64);
        let mut gaps = Self::default();
        let mut places = vec![(0, 0)];
        let (mut i, mut j) = (0, 0);
        while i < x.len() {
            let value = x[(i + BLOCK).min(x.len()) - 1];
            i = up_to(x, (i + BLOCK).min(x.len()), value);
            j = up_to(y, j, value);
            gaps.take(i as u64, j as u64, n, m);
            places.push((i, j));
        }
        // Beyond the last of x the difference only shrinks towards 0.
        for pair in places.windows(2) {
            let [(mut i, mut j), (end_i, end_j)] = [pair[0], pair[1]];
            let mut most = gaps;
            most.take(end_i as u64, j as u64, n, m);
            most.take(i as u64, end_j as u64, n, m);
            if most == gaps {
                continue;
            }
            while i < end_i && j < end_j {
                let value = x[i].min(y[j]);
                i += x[i..].iter().take_while(|other| **other <= value).count();
                j += y[j..].iter().take_while(|other| **other <= value).count();
                gaps.take(i as u64, j as u64, n, m);
            }
            // What is left of one side alone leads straight to the end of the block.
        }
        gaps
    }

    /// Takes in a point below or at which `i` of n and `j` of m values lie.
    pub(crate) fn take(&mut self, i: u64, j: u64, n: u64, m: u64) {
        let (first, second) = (u128::from(i) * u128::from(m), u128::from(j) * u128::from(n));
        if first >= second {
            self.above = self.above.max(first - second);
        } else {
            self.below = self.below.max(second - first);
        }
    }

    /// The gap that counts.
    pub(crate) fn of(self, alternative: Alternative) -> u128 {
        match alternative {
            Alternative::TwoSided => self.above.max(self.below),
            Alternative::Greater => self.above,
            Alternative::Less => self.below,
        }
    }
}

/// How many numbers of a sorted list are at most `value`, where the first `from` are.
fn up_to(list: &[f64], from: usize, value: f64) -> usize {
    let (mut low, mut step) = (from, BLOCK);
    while list.get(low + step - 1).is_some_and(|other| *other <= value) {
        low += step;
        step *= 2;
    }
    low + list[low..(low + step).min(list.len())].partition_point(|other| *other <= value)
}

/// The p-value of a gap of `gap` / (n m).
pub(crate) fn p_value(gap: u128, n: u64, m: u64, alternative: Alternative, method: Method) -> Result<f64> {
    let two_sided = alternative == Alternative::TwoSided;
    let exact = match method {
        Method::Auto => n.max(m) <= 10_000,
        Method::Exact => true,
        Method::Asymptotic => false,
    };
    if gap == 0 {
        return Ok(1.0);
    }
    if !exact {
        let d = gap as f64 / (n as f64 * m as f64);
        return Ok(asymptotic(d, n as f64, m as f64, two_sided));
    }
    let z = gap as f64 / ((n + m) as f64 * n as f64 * m as f64).sqrt();
    if z * z > CERTAIN {
        return Ok(0.0);
    }
    let divisor = common_divisor(n, m);
    // The numerator is a multiple of the divisor, for both products are.
    let gap = (gap / u128::from(divisor)) as u64;
    let points = u128::from(n) * u128::from(m);
    match (n == m, two_sided) {
        (true, true) => Ok(equal_sizes(gap, n)),
        (true, false) => Ok(equal_sizes_one_sided(gap, n)),
        _ if points > 10_000_000_000 => Err(Error::unsupported(format!(
            "an exact p-value for {n} and {m} values needs {points} steps: use the asymptotic method"
        ))),
        _ => Ok(lattice(gap, n / divisor, m / divisor, n as usize, m as usize, two_sided)),
    }
}

fn asymptotic(d: f64, n: f64, m: f64, two_sided: bool) -> f64 {
    let (large, small) = (n.max(m), n.min(m));
    let effective = large * small / (large + small);
    if two_sided {
        return kstwo_sf(d, effective.round_ties_even() as u64);
    }
    let z = effective.sqrt() * d;
    let correction = 2.0 * z * (large + 2.0 * small) / (large * small * (large + small)).sqrt() / 3.0;
    (-2.0 * z * z - correction).exp().min(1.0)
}

/// 2 [C(2n, n-h) - C(2n, n-2h) + ...] / C(2n, n), nested so that no binomial overflows.
fn equal_sizes(h: u64, n: u64) -> f64 {
    if h <= 1 {
        // Distribution functions of n and n values cannot be closer than 1/n.
        return 1.0;
    }
    let mut tail = 0.0;
    for k in (0..n / h).rev() {
        tail = ratio(k * h, h, n) * (1.0 - tail);
    }
    (2.0 * tail).clamp(0.0, 1.0)
}

/// C(2n, n-h) / C(2n, n).
fn equal_sizes_one_sided(h: u64, n: u64) -> f64 {
    ratio(0, h, n).min(1.0)
}

/// C(2n, n-from-h) / C(2n, n-from).
fn ratio(from: u64, h: u64, n: u64) -> f64 {
    (0..h).map(|j| (n - from - j) as f64 / (n + from + j + 1) as f64).product()
}

/// The probability that a random path of n steps one way and m the other leaves the band
/// |i m' - j n'| < h, where n' and m' are the sizes without their common divisor.
///
/// The path takes each order of the pooled values with equal probability, so from (i, j) it goes on in the
/// first sample with probability (n-i)/(n+m-i-j). `inside` is the probability of being at (i, k-i) after k steps
/// without having left; what leaves is added up. All terms are positive: the relative error is about
/// (n + m) epsilon. Points after the same number of steps share their divisor and do not depend on each other, so
/// that the compiler computes several together.
fn lattice(h: u64, n_reduced: u64, m_reduced: u64, n: usize, m: usize, two_sided: bool) -> f64 {
    let (h, n_reduced, m_reduced) = (i128::from(h), i128::from(n_reduced), i128::from(m_reduced));
    // With j = k - i the band is -h < i (m' + n') - k n' < h: its ends move up by at most one with each step.
    let both = n_reduced + m_reduced;
    let numbers: Vec<f64> = (0..=n).map(|i| i as f64).collect();
    // `inside[i + 1]` belongs to i, so that the place before the first is there. It is 0 beyond the band.
    let (mut inside, mut next) = (vec![0.0; n + 2], vec![0.0; n + 2]);
    let (mut low, mut high) = (0, 0);
    let mut outside = 0.0;
    inside[1] = 1.0;
    for k in 1..=n + m {
        let at = k as i128 * n_reduced;
        let least = if two_sided { (at - h).div_euclid(both) + 1 } else { 0 };
        let least = least.max(k as i128 - m as i128).max(0);
        let most = (at + h - 1).div_euclid(both).min(n as i128).min(k as i128);
        if least > most {
            // The band is empty here: all paths have left it.
            return 1.0;
        }
        let (new_low, new_high) = (least as usize, most as usize);
        let share = 1.0 / (n + m + 1 - k) as f64;
        // A step in the first sample comes from i - 1, one in the second stays at i.
        let (first, second) = ((n + 1) as f64, m as f64 + 1.0 - k as f64);
        if new_low > low {
            outside += inside[low + 1] * (second + low as f64) * share;
        }
        if new_high == high {
            outside += inside[high + 1] * (n - high) as f64 * share;
        }
        let slots = next[new_low + 1..=new_high + 1].iter_mut();
        let before = inside[new_low..=new_high].iter().zip(&inside[new_low + 1..=new_high + 1]);
        for ((slot, (from_first, from_second)), i) in slots.zip(before).zip(&numbers[new_low..=new_high]) {
            *slot = (from_first * (first - i) + from_second * (second + i)) * share;
        }
        next[new_low] = 0.0;
        std::mem::swap(&mut inside, &mut next);
        (low, high) = (new_low, new_high);
    }
    outside.clamp(0.0, 1.0)
}

/// Values of the first list between two places that are looked at first.
const BLOCK: usize = 64;
/// From here on of n m D^2 / (n + m) the p-value, at most some 2 exp(-2 z^2), is below the smallest float.
const CERTAIN: f64 = 400.0;

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// All orders of n and m values, and how many have a gap of at least `gap`.
    fn enumerate(n: u64, m: u64, gap: u128, alternative: Alternative) -> f64 {
        fn walk(
            i: u64,
            j: u64,
            n: u64,
            m: u64,
            gaps: Gaps,
            gap: u128,
            alternative: Alternative,
        ) -> (u64, u64) {
            let mut gaps = gaps;
            gaps.take(i, j, n, m);
            if i == n && j == m {
                return (u64::from(gaps.of(alternative) >= gap), 1);
            }
            let (mut hits, mut all) = (0, 0);
            for (i, j) in [(i + 1, j), (i, j + 1)] {
                if i <= n && j <= m {
                    let (more, paths) = walk(i, j, n, m, gaps, gap, alternative);
                    hits += more;
                    all += paths;
                }
            }
            (hits, all)
        }
        let (hits, all) = walk(0, 0, n, m, Gaps::default(), gap, alternative);
        hits as f64 / all as f64
    }

    #[test]
    fn gaps_are_those_of_every_value() {
        let mut random = SplitMix64::new(3);
        for (n, m, distinct) in
            [(1, 1, 1), (1, 500, 9), (500, 1, 9), (300, 700, 40), (5000, 4000, 10_000), (900, 900, 3)]
        {
            for shift in [0.0, 0.1, 2.0, -1.0] {
                let mut list = |n: usize, shift: f64| -> Vec<f64> {
                    let mut values: Vec<f64> = (0..n)
                        .map(|_| (random.uniform() * f64::from(distinct)).floor() / 7.0 + shift)
                        .collect();
                    values.sort_by(f64::total_cmp);
                    values
                };
                let (x, y) = (list(n, 0.0), list(m, shift));
                let mut want = Gaps::default();
                for value in x.iter().chain(&y) {
                    let [i, j] = [&x, &y].map(|list| list.partition_point(|other| other <= value) as u64);
                    want.take(i, j, n as u64, m as u64);
                }
                assert_eq!(Gaps::of_sorted(&x, &y), want, "{n} {m} {distinct} {shift}");
            }
        }
    }

    #[test]
    fn exact_p_values_count_all_orders() {
        for (n, m) in [(1, 1), (1, 4), (3, 2), (4, 4), (5, 5), (6, 4), (7, 3), (5, 7)] {
            for alternative in [Alternative::TwoSided, Alternative::Less, Alternative::Greater] {
                for gap in (0..=n * m).step_by(common_divisor(n, m) as usize) {
                    let want = enumerate(n, m, gap.into(), alternative);
                    let got = p_value(gap.into(), n, m, alternative, Method::Exact).unwrap();
                    assert!((got - want).abs() < 1e-14, "{n} {m} {gap} {alternative:?}: {got} {want}");
                }
            }
        }
    }
}
