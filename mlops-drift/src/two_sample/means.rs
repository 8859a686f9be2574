//! Tests on moments.

use statrs::function::beta::checked_beta_reg;

use super::TestResult;
use crate::special::chi_squared_sf;
use crate::{Error, Result, Sample};

/// Welch's t test: do the means differ, whatever the variances? (B. Welch, The Generalization of Student's
/// Problem when Several Different Population Variances Are Involved, 1947.)
///
/// * Domain: finite numbers. Asymptotic for data that are not normal: believe it from some 30 values on.
/// * p-value: two-sided, Student's t with the Welch-Satterthwaite degrees of freedom.
/// * If both samples are constant: t = 0, p = 1 if they are equal, else t infinite, p = 0.
/// * Effect: Cohen's d_av, the difference of means (first less second) over the root of the mean variance. Cost:
///   O(n + m).
///
/// # Errors
/// `Data` if a sample has fewer than two values or an infinite one.
pub fn welch_t(a: &Sample, b: &Sample) -> Result<TestResult> {
    t_test("welch_t", a, b, false)
}

/// Student's t test: as [`welch_t`], for equal variances (W. Gosset, The Probable Error of a Mean, 1908).
///
/// # Errors
/// `Data` if a sample has fewer than two values or an infinite one.
pub fn student_t(a: &Sample, b: &Sample) -> Result<TestResult> {
    t_test("student_t", a, b, true)
}

fn t_test(test: &str, a: &Sample, b: &Sample, equal_variances: bool) -> Result<TestResult> {
    let sizes = (a.len() as u64, b.len() as u64);
    if sizes.0.min(sizes.1) < 2 {
        return Err(Error::data(format!(
            "{test} needs two values a sample, got {} and {}",
            sizes.0, sizes.1
        )));
    }
    finite(test, a)?;
    finite(test, b)?;
    let (n, m) = (sizes.0 as f64, sizes.1 as f64);
    let scale = unit(a, b);
    let ((mean1, variance1), (mean2, variance2)) = (moments(a, scale), moments(b, scale));
    let (share1, share2) = (variance1 / n, variance2 / m);
    let (error, freedom) = if equal_variances {
        let pooled = ((n - 1.0) * variance1 + (m - 1.0) * variance2) / (n + m - 2.0);
        (pooled * (1.0 / n + 1.0 / m), n + m - 2.0)
    } else {
        let sum = share1 + share2;
        // A share of the sum, so that no square underflows.
        let share = share1 / sum;
        (sum, 1.0 / (share * share / (n - 1.0) + (1.0 - share) * (1.0 - share) / (m - 1.0)))
    };
    let difference = mean1 - mean2;
    let ratio = |deviation: f64| if difference == 0.0 { 0.0 } else { difference / deviation };
    let t = ratio(error.sqrt());
    let p_value = if t == 0.0 {
        1.0
    } else if t.is_infinite() {
        0.0
    } else {
        checked_beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t))
            .map_err(|error| Error::data(format!("{test} has no answer for t = {t}: {error}")))?
    };
    let effect = ratio(((variance1 + variance2) / 2.0).sqrt());
    Ok(TestResult { test: test.into(), statistic: t, p_value, effect, sizes })
}

/// A power of four that brings the largest number near 1, so that squares neither overflow nor lose digits, and
/// roots of it are exact.
pub(crate) fn unit(a: &Sample, b: &Sample) -> f64 {
    let largest = [a, b]
        .iter()
        .flat_map(|sample| [sample.sorted()[0], sample.sorted()[sample.len() - 1]])
        .fold(0.0, |x: f64, y| x.max(y.abs()));
    if largest > 0.0 { (-2.0 * (largest.log2() / 2.0).floor()).clamp(-1000.0, 1000.0).exp2() } else { 1.0 }
}

/// Mean and variance (n - 1) of the scaled values.
fn moments(sample: &Sample, scale: f64) -> (f64, f64) {
    let n = sample.len() as f64;
    let values = || sample.sorted().iter().map(|value| value * scale);
    let rough = values().sum::<f64>() / n;
    let mean = rough + values().map(|value| value - rough).sum::<f64>() / n;
    let squares: f64 = values().map(|value| (value - mean) * (value - mean)).sum();
    (mean, squares / (n - 1.0))
}

pub(crate) fn finite(test: &str, sample: &Sample) -> Result<()> {
    let sorted = sample.sorted();
    if sorted[0].is_finite() && sorted[sorted.len() - 1].is_finite() {
        return Ok(());
    }
    Err(Error::data(format!("{test} has no answer for infinite values: count those apart")))
}

/// The Epps-Singleton test: do the empirical characteristic functions differ at two points? (T. Epps, K.
/// Singleton, An Omnibus Test for the Two-Sample Problem Using the Empirical Characteristic Function, 1986.)
///
/// * Points 0.4 and 0.8 over half the pooled interquartile range. Discrete data are welcome.
/// * p-value: chi-squared with as many degrees of freedom as the covariance has rank, four at most; with the
///   small-sample correction below 25 values.
/// * Two different constants give an infinite statistic and p = 0.
/// * Effect: the statistic over n + m. Cost: O(n + m).
///
/// # Errors
/// `Data` if a sample has fewer than five values or an infinite one, if the interquartile range is 0, or if a
/// value lies too far beyond it for a float.
pub fn epps_singleton(a: &Sample, b: &Sample) -> Result<TestResult> {
    let sizes = (a.len() as u64, b.len() as u64);
    if sizes.0.min(sizes.1) < 5 {
        return Err(Error::data(format!(
            "epps_singleton needs five values a sample, got {} and {}",
            sizes.0, sizes.1
        )));
    }
    finite("epps_singleton", a)?;
    finite("epps_singleton", b)?;
    let mut pooled = [a.sorted(), b.sorted()].concat();
    pooled.sort_unstable_by(f64::total_cmp);
    let quartile = |share: f64| {
        let place = share * (pooled.len() - 1) as f64;
        let low = place.floor() as usize;
        let weight = place - low as f64;
        pooled[low] * (1.0 - weight) + pooled[(low + 1).min(pooled.len() - 1)] * weight
    };
    let half_range = quartile(0.75) / 2.0 - quartile(0.25) / 2.0;
    if !(half_range > 0.0 && half_range.is_finite()) {
        return Err(Error::data("epps_singleton needs a pooled interquartile range above 0"));
    }
    let (n, m) = (sizes.0 as f64, sizes.1 as f64);
    let total = n + m;
    let ((mean1, covariance1), (mean2, covariance2)) = (waves(a, half_range), waves(b, half_range));
    if mean1.iter().chain(&mean2).any(|wave| !wave.is_finite()) {
        return Err(Error::data(
            "epps_singleton has no answer for values beyond 1e308 interquartile ranges: clip them",
        ));
    }
    let mut covariance = [[0.0; 4]; 4];
    for (row, (one, two)) in covariance.iter_mut().zip(covariance1.iter().zip(&covariance2)) {
        for (cell, (one, two)) in row.iter_mut().zip(one.iter().zip(two)) {
            *cell = total / n * one + total / m * two;
        }
    }
    let difference: [f64; 4] = std::array::from_fn(|k| mean1[k] - mean2[k]);
    let (values, vectors) = eigen(covariance);
    let largest = values.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
    let (mut statistic, mut rank) = (0.0, 0.0);
    for (value, vector) in values.iter().zip(&vectors) {
        if *value > 1e-13 * largest.max(ROUNDING) {
            let along: f64 = vector.iter().zip(&difference).map(|(a, b)| a * b).sum();
            statistic += along * along / value;
            rank += 1.0;
        }
    }
    if rank == 0.0 && difference.iter().any(|wave| wave.abs() > ROUNDING) {
        // Two different constants.
        statistic = f64::INFINITY;
        rank = 1.0;
    }
    statistic *= total;
    if n.max(m) < 25.0 {
        statistic /= 1.0 + total.powf(-0.45) + 10.1 * (n.powf(-1.7) + m.powf(-1.7));
    }
    Ok(TestResult {
        test: "epps_singleton".into(),
        statistic,
        p_value: if rank > 0.0 { chi_squared_sf(statistic, rank) } else { 1.0 },
        effect: statistic / total,
        sizes,
    })
}

type Square = [[f64; 4]; 4];

/// Mean and covariance of the cosines and sines at both points.
fn waves(sample: &Sample, half_range: f64) -> ([f64; 4], Square) {
    let n = sample.len() as f64;
    let at = |value: f64| {
        let (slow, fast) = (0.4 / half_range * value, 0.8 / half_range * value);
        [slow.cos(), fast.cos(), slow.sin(), fast.sin()]
    };
    let mut mean = [0.0; 4];
    for value in sample.sorted() {
        for (sum, wave) in mean.iter_mut().zip(at(*value)) {
            *sum += wave / n;
        }
    }
    let mut covariance = [[0.0; 4]; 4];
    for value in sample.sorted() {
        let waves = at(*value);
        for (i, row) in covariance.iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().enumerate() {
                *cell += (waves[i] - mean[i]) * (waves[j] - mean[j]) / n;
            }
        }
    }
    (mean, covariance)
}

/// Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations.
fn eigen(mut matrix: Square) -> ([f64; 4], Square) {
    let mut vectors: Square = std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    for _ in 0..30 {
        for p in 0..3 {
            for q in p + 1..4 {
                if matrix[p][q] == 0.0 {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for row in &mut matrix {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (first, second) = (matrix[p], matrix[q]);
                matrix[p] = std::array::from_fn(|k| c * first[k] - s * second[k]);
                matrix[q] = std::array::from_fn(|k| s * first[k] + c * second[k]);
                let (first, second) = (vectors[p], vectors[q]);
                vectors[p] = std::array::from_fn(|k| c * first[k] - s * second[k]);
                vectors[q] = std::array::from_fn(|k| s * first[k] + c * second[k]);
            }
        }
    }
    (std::array::from_fn(|k| matrix[k][k]), vectors)
}

/// Cosines and sines are known to a few times this.
const ROUNDING: f64 = 1e-14;
