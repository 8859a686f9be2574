//! Tests on the ranks of two samples.

use serde::{Deserialize, Serialize};

use super::{Alternative, Method, TestResult};
use crate::special::{cramer_von_mises_sf, normal_sf};
use crate::{Error, Result, Sample};

/// One distinct value of two pooled samples: how many of each lie below it, and how many are it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tie {
    pub(crate) below: (u64, u64),
    pub(crate) at: (u64, u64),
    /// Whether these are values of the second sample alone that merely lie close together.
    pub(crate) distinct: bool,
}

/// The distinct values of both samples in ascending order.
pub(crate) fn ties<'a>(a: &'a Sample, b: &'a Sample) -> impl Iterator<Item = Tie> + 'a {
    let (x, y) = (a.sorted(), b.sorted());
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        let value = match (x.get(i), y.get(j)) {
            (Some(a), Some(b)) => a.min(*b),
            (Some(value), None) | (None, Some(value)) => *value,
            (None, None) => return None,
        };
        let below = (i as u64, j as u64);
        while x.get(i).is_some_and(|other| *other <= value) {
            i += 1;
        }
        while y.get(j).is_some_and(|other| *other <= value) {
            j += 1;
        }
        Some(Tie { below, at: (i as u64 - below.0, j as u64 - below.1), distinct: false })
    })
}

/// The Mann-Whitney U test: does one sample tend to be larger? (H. Mann, D. Whitney, On a Test of Whether One
/// of Two Random Variables Is Stochastically Larger than the Other, 1947.)
///
/// * Statistic: U of the first sample, the pairs in which it is larger, ties counting half.
/// * p-value: `Auto` is exact if there are no ties, a sample has at most 8 values and that takes no more than
///   10^7 steps, else normal with tie and continuity correction. `Exact` ignores ties, as SciPy's does.
/// * Effect: the rank-biserial correlation 2 U / (n m) - 1, in -1..=1; positive if the first tends to be
///   larger. Cost: O(n + m) on sorted samples, exact O(min(n, m) U).
///
/// # Errors
/// `Unsupported` if `Exact` needs more than 10^9 steps.
pub fn mann_whitney(a: &Sample, b: &Sample, alternative: Alternative, method: Method) -> Result<TestResult> {
    from_ties(ties(a, b), a.len() as u64, b.len() as u64, alternative, method)
}

/// The same from the distinct values of both sides.
pub(crate) fn from_ties(
    ties: impl Iterator<Item = Tie>,
    n: u64,
    m: u64,
    alternative: Alternative,
    method: Method,
) -> Result<TestResult> {
    let (mut doubled, mut tie_term) = (0u128, 0.0);
    let mut tied = false;
    for Tie { below, at, distinct } in ties {
        doubled += u128::from(at.0) * (2 * u128::from(below.1) + u128::from(at.1));
        if distinct {
            continue;
        }
        let together = (at.0 + at.1) as f64;
        tie_term += together * (together * together - 1.0);
        tied |= at.0 + at.1 > 1;
    }
    let (n_real, m_real) = (n as f64, m as f64);
    let first = doubled as f64 / 2.0;
    let second = n_real * m_real - first;
    let u = match alternative {
        Alternative::TwoSided => first.max(second),
        Alternative::Greater => first,
        Alternative::Less => second,
    };
    let sides = if alternative == Alternative::TwoSided { 2.0 } else { 1.0 };
    let exact = match method {
        Method::Auto => !tied && n.min(m) <= 8 && n_real * m_real * n.min(m) as f64 <= AUTO_STEPS,
        Method::Exact => true,
        Method::Asymptotic => false,
    };
    let tail = if exact {
        exact_tail(u, n, m)?
    } else {
        let total = n_real + m_real;
        let correction = if total > 1.0 { tie_term / (total * (total - 1.0)) } else { 0.0 };
        let deviation = (n_real * m_real / 12.0 * ((total + 1.0) - correction)).sqrt();
        let distance = u - n_real * m_real / 2.0 - 0.5;
        if deviation > 0.0 { normal_sf(distance / deviation) } else { 1.0 }
    };
    Ok(TestResult {
        test: "mann_whitney".into(),
        statistic: first,
        p_value: (sides * tail).min(1.0),
        effect: (first - second) / (n_real * m_real),
        sizes: (n, m),
    })
}

/// P(U >= u) without ties, from the coefficients of the Gaussian binomial up to the nearer end.
fn exact_tail(u: f64, n: u64, m: u64) -> Result<f64> {
    let (small, large) = (n.min(m), n.max(m));
    let pairs = n as f64 * m as f64;
    // By symmetry P(U >= u) = P(U <= n m - u).
    let reach = pairs - u.floor();
    let (last, upper) = if reach <= pairs / 2.0 { (reach, false) } else { (u.floor() - 1.0, true) };
    if last < 0.0 {
        return Ok(if upper { 1.0 } else { 0.0 });
    }
    if last * small as f64 > 1e9 {
        return Err(Error::unsupported(format!(
            "an exact p-value for {n} and {m} values needs over 10^9 steps: use the asymptotic method"
        )));
    }
    let size = last as usize + 1;
    let mut counts = vec![0.0; size];
    counts[0] = 1.0;
    let mut all = 1.0;
    for i in 1..=small {
        // Times (1 - q^(large + i)) / (1 - q^i): both sides small, so the whole stays in range.
        let shift = (large + i) as usize;
        for at in (shift..size).rev() {
            counts[at] -= counts[at - shift];
        }
        for at in i as usize..size {
            counts[at] += counts[at - i as usize];
        }
        all *= (large + i) as f64 / i as f64;
    }
    let share = counts.iter().sum::<f64>() / all;
    Ok(if upper { 1.0 - share } else { share })
}

/// The two-sample Cramer-von Mises test: the mean squared difference of the distribution functions (T.
/// Anderson, On the Distribution of the Two-Sample Cramer-von Mises Criterion, 1962).
///
/// * Statistic: T of that paper, with midranks for ties.
/// * p-value: `Auto` is exact if no sample has more than 20 values (Y. Xiao, A. Gordon, A. Yakovlev, 2007),
///   else from the limit at the standardised T; its far tail keeps its digits.
/// * Effect: T (n + m) / (n m), the mean squared difference, in 0..=1/3 nearly.
/// * Cost: O(n + m) on sorted samples.
///
/// # Errors
/// `Data` if a sample has fewer than two values; `Unsupported` if `Exact` is asked for more than 60.
pub fn cramer_von_mises(a: &Sample, b: &Sample, method: Method) -> Result<TestResult> {
    cramer_from_ties(ties(a, b), a.len() as u64, b.len() as u64, method)
}

/// The same from the distinct values of both sides.
pub(crate) fn cramer_from_ties(
    ties: impl Iterator<Item = Tie>,
    n: u64,
    m: u64,
    method: Method,
) -> Result<TestResult> {
    if n < 2 || m < 2 {
        return Err(Error::data(format!("cramer_von_mises needs two values a sample, got {n} and {m}")));
    }
    // Sums of (midrank - own rank)^2 over each sample, kept in quarters.
    let (mut x, mut y) = (0.0, 0.0);
    for Tie { below, at, distinct } in ties {
        if distinct {
            y += at.1 as f64 * (below.0 as f64).powi(2);
            continue;
        }
        let midrank = (below.0 + below.1) as f64 + ((at.0 + at.1) as f64 + 1.0) / 2.0;
        x += squares(midrank, below.0, at.0);
        y += squares(midrank, below.1, at.1);
    }
    let (n_real, m_real) = (n as f64, m as f64);
    let u = n_real * x + m_real * y;
    let (product, total) = (n_real * m_real, n_real + m_real);
    let t = u / (product * total) - (4.0 * product - 1.0) / (6.0 * total);
    let exact = match method {
        Method::Auto => n.max(m) <= 20,
        Method::Exact => true,
        Method::Asymptotic => false,
    };
    let p_value = if exact {
        exact_cramer(u, n, m)?
    } else {
        let mean = (1.0 + 1.0 / total) / 6.0;
        let variance = (total + 1.0)
            * (4.0 * product * total - 3.0 * (n_real * n_real + m_real * m_real) - 2.0 * product)
            / (45.0 * total * total * 4.0 * product);
        cramer_von_mises_sf(1.0 / 6.0 + (t - mean) / (45.0 * variance).sqrt())
    };
    Ok(TestResult {
        test: "cramer_von_mises".into(),
        statistic: t,
        p_value,
        effect: t * total / product,
        sizes: (n, m),
    })
}

/// The sum of (midrank - rank)^2 over `count` ranks after `below`.
fn squares(midrank: f64, below: u64, count: u64) -> f64 {
    let count = count as f64;
    let centre = midrank - below as f64 - (count + 1.0) / 2.0;
    count * centre * centre + count * (count * count - 1.0) / 12.0
}

/// P(U >= u) over all orders of n and m values. Walks the lattice with the distribution of the sum so far;
/// what reaches the bound leaves.
fn exact_cramer(u: f64, n: u64, m: u64) -> Result<f64> {
    if n.max(m) > 60 {
        return Err(Error::unsupported(format!(
            "an exact Cramer-von Mises p-value for {n} and {m} values takes too long: use the asymptotic method"
        )));
    }
    let (mut divisor, mut rest) = (n, m);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    let multiple = n / divisor * m;
    let (a, b) = (multiple / n, multiple / m);
    // u counts quarters, so four times it is a whole number; all of the bound is then.
    let (product, total) = (u128::from(n * m), u128::from(n + m));
    let quarters = 4.0 * u;
    let scale = u128::from(multiple * multiple) * total;
    let above = (6 * quarters.round() as u128).saturating_sub(4 * product * (4 * product - 1));
    let bound = scale * above / (24 * product * product);
    if bound == 0 {
        return Ok(1.0);
    }
    let bound = bound as u64;
    let mut beyond = 0.0;
    // By steps in the second sample: the distribution of the sum, ascending.
    let mut row: Vec<Vec<(u64, f64)>> = vec![Vec::new(); m as usize + 1];
    for i in 0..=n {
        for j in 0..=m {
            let left = (n - i + m - j + 1) as f64;
            let mut sums: Vec<(u64, f64)> = if i == 0 && j == 0 {
                vec![(0, 1.0)]
            } else {
                let across = row[j as usize].iter().map(|(sum, p)| (*sum, p * (n - i + 1) as f64 / left));
                let along = j.checked_sub(1).map(|j| &row[j as usize]);
                let along = along.into_iter().flatten().map(|(sum, p)| (*sum, p * (m - j + 1) as f64 / left));
                across.filter(|_| i > 0).chain(along).collect()
            };
            sums.sort_unstable_by_key(|(sum, _)| *sum);
            sums.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1 += next.1;
                }
                same
            });
            let step = (a * i).abs_diff(b * j).pow(2);
            sums.iter_mut().for_each(|(sum, _)| *sum += step);
            let inside = sums.partition_point(|(sum, _)| *sum < bound);
            beyond += sums.drain(inside..).map(|(_, p)| p).sum::<f64>();
            row[j as usize] = sums;
        }
    }
    Ok(f64::min(beyond, 1.0))
}

/// How [`anderson_darling_with`] treats equal values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TiedValues {
    /// Distribution functions half-way up their jumps: the paper's A^2_akN.
    #[default]
    Midrank,
    /// Distribution functions at the top of their jumps: the paper's A^2_kN, the same as its A^2 for values without
    /// ties.
    Right,
}

/// The two-sample Anderson-Darling test with midranks: see [`anderson_darling_with`].
///
/// # Errors
/// `Data` if there are fewer than four values together or all are equal.
pub fn anderson_darling(a: &Sample, b: &Sample) -> Result<TestResult> {
    anderson_darling_with(a, b, TiedValues::Midrank)
}

/// The two-sample Anderson-Darling test: like Cramer-von Mises, with more weight on the tails (F. Scholz, M.
/// Stephens, K-Sample Anderson-Darling Tests, 1987).
///
/// * Statistic: the paper's standardised A^2.
/// * p-value: the paper's table, a quadratic fit of ln p, known from 0.001 to 0.25 and clamped there: read
///   0.001 as "at most", 0.25 as "at least".
/// * Effect: A^2 / (n + m), unstandardised. Cost: O(n + m) on sorted samples.
///
/// # Errors
/// `Data` if there are fewer than four values together or all are equal.
pub fn anderson_darling_with(a: &Sample, b: &Sample, tied: TiedValues) -> Result<TestResult> {
    let (n, m) = (a.len() as u64, b.len() as u64);
    let (n_real, m_real) = (n as f64, m as f64);
    let total = n_real + m_real;
    let (mut x, mut y) = (0.0, 0.0);
    let mut distinct = 0;
    for Tie { below, at, .. } in ties(a, b) {
        distinct += 1;
        let here = (at.0 + at.1) as f64;
        let (part, spread) = match tied {
            TiedValues::Midrank => (0.5, total * here / 4.0),
            TiedValues::Right => (1.0, 0.0),
        };
        let pooled = (below.0 + below.1) as f64 + here * part;
        let divisor = pooled * (total - pooled) - spread;
        if divisor <= 0.0 {
            // The top of the last jump, where nothing can differ.
            continue;
        }
        let weight = here / total / divisor;
        let distance =
            |below: u64, at: u64, size: f64| total * (below as f64 + at as f64 * part) - pooled * size;
        x += weight * distance(below.0, at.0, n_real).powi(2);
        y += weight * distance(below.1, at.1, m_real).powi(2);
    }
    if distinct < 2 || n + m < 4 {
        return Err(Error::data(format!(
            "anderson_darling needs four values, not all equal, got {} with {distinct} distinct",
            n + m
        )));
    }
    let squared = x / n_real + y / m_real;
    let squared = if tied == TiedValues::Midrank { squared * (total - 1.0) / total } else { squared };
    let statistic = (squared - 1.0) / scholz_stephens_variance(n_real, m_real).sqrt();
    let log = FIT[0] + statistic * (FIT[1] + statistic * FIT[2]);
    let p_value = if statistic < 0.325 {
        0.25
    } else if statistic > 6.546 {
        0.001
    } else {
        log.exp()
    };
    Ok(TestResult {
        test: "anderson_darling".into(),
        statistic,
        p_value,
        effect: squared / total,
        sizes: (n, m),
    })
}

/// The variance of A^2 for two samples.
fn scholz_stephens_variance(n: f64, m: f64) -> f64 {
    let total = n + m;
    let inverse = 1.0 / n + 1.0 / m;
    let (mut h, mut g) = (0.0, 0.0);
    let mut rank = 2.0;
    // h sums 1/i over i < total; g sums 1/((total - i) j) over i < j.
    while rank < total {
        h += 1.0 / (total - rank + 1.0);
        g += h / rank;
        rank += 1.0;
    }
    h += 1.0;
    let a = (4.0 * g - 6.0) + (10.0 - 6.0 * g) * inverse;
    let b = (2.0 * g - 4.0) * 4.0 + 16.0 * h + (2.0 * g - 14.0 * h - 4.0) * inverse - 8.0 * h + 4.0 * g - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * 4.0
        + (4.0 * h - 4.0 * g + 6.0) * 2.0
        + (2.0 * h - 6.0) * inverse
        + 4.0 * h;
    let d = (2.0 * h + 6.0) * 4.0 - 8.0 * h;
    (((a * total + b) * total + c) * total + d) / ((total - 1.0) * (total - 2.0) * (total - 3.0))
}

/// The quadratic in the standardised A^2 that fits ln p of the paper's table best, at the critical values
/// 0.325, 1.226, 1.961, 2.718, 3.752, 4.592 and 6.546 of two samples.
const FIT: [f64; 3] = [-1.077_770_279_820_487_3, -1.008_226_564_465_250_4, 0.018_198_094_574_111_246];
/// Of an exact Mann-Whitney p-value that nobody asked for.
const AUTO_STEPS: f64 = 1e7;
