//! Kolmogorov's and Smirnov's distributions at finite sample sizes and in the limit.
//!
//! Exact: Durbin's matrix (J. Durbin, The Probability that the Sample Distribution Function Lies Between
//! Two Parallel Straight Lines, 1968; G. Marsaglia, W. Tsang, J. Wang, Evaluating Kolmogorov's
//! Distribution, 2003) and Smirnov's sum. Asymptotic: W. Pelz, I. J. Good, Approximating the Lower
//! Tail-areas of the Kolmogorov-Smirnov One-sample Statistic, 1976. Which one where: R. Simard,
//! P. L'Ecuyer, Computing the Two-Sided Kolmogorov-Smirnov Distribution, 2011.

use std::f64::consts::PI;

use pulp::{Arch, Simd, WithSimd};

use super::binomial::{binomial_density, stirling_error};

/// P(D_n >= d) of the two-sided one-sample Kolmogorov-Smirnov statistic of `n` values.
///
/// Exact for n <= 140; above, relative error below 2e-6 (twice the one-sided tail from n d^2 >= 2.2 on,
/// Pelz and Good's expansion below), the same choices as SciPy's `kstwo.sf`. `d` outside 0..=1 gives 1 or
/// 0, NaN gives NaN, n = 0 gives 1.
///
/// Cost: some microseconds for n <= 140, and above wherever the result is below 0.9: a constant number of terms, or
/// n up to 500. Above 140 with n d^1.5 <= 1.4, where it is larger, O(n^2 d) up to n = 1000, then O((n d)^3 log n):
/// at most some milliseconds.
///
/// ```
/// use mlops_drift::special::kstwo_sf;
///
/// assert!((kstwo_sf(0.2, 50) - 0.03143877776953241).abs() < 1e-14);
/// ```
pub fn kstwo_sf(d: f64, n: u64) -> f64 {
    if d.is_nan() {
        return f64::NAN;
    }
    let count = n as f64;
    let steps = count * d;
    let squared = steps * d;
    let probability = if n == 0 || steps <= 0.5 {
        1.0
    } else if d >= 1.0 {
        0.0
    } else if steps <= 1.0 {
        1.0 - (ln_factorial_over_power(count) + count * (2.0 * steps - 1.0).ln()).exp()
    } else if d >= 0.5 || squared > if n <= 140 { 4.0 } else { 2.2 } {
        2.0 * smirnov_sf(d, n)
    } else if squared < LOWEST {
        1.0
    } else if n <= 140 || (n <= 100_000 && count * d.powf(1.5) <= 1.4) {
        1.0 - durbin_cdf(d, n)
    } else {
        1.0 - pelz_good_cdf(d, count)
    };
    probability.clamp(0.0, 1.0)
}

/// P(D_n^+ >= d) of the one-sided one-sample Kolmogorov-Smirnov statistic of `n` values.
///
/// Smirnov's sum of positive terms, each a binomial probability: relative error about 1e-13. Where n d > 40 its
/// terms are a smooth bump that vanishes at both ends, so that some of them give the sum to the same accuracy:
/// 96 by the trapezoidal rule if n d^2 > 2, 400 by double-exponential nodes below (n d > 60). Beyond a million
/// values with n d <= 60: exp(-(6 n d + 1)^2 / (18 n)), relative error below 0.07 / n. Cost: so many terms, else
/// n (1 - d). n = 0 gives 1, NaN gives NaN.
///
/// ```
/// use mlops_drift::special::smirnov_sf;
///
/// // One value: D+ >= d when it lies below 1 - d.
/// assert!((smirnov_sf(0.3, 1) - 0.7).abs() < 1e-15);
/// ```
pub fn smirnov_sf(d: f64, n: u64) -> f64 {
    if d.is_nan() {
        return f64::NAN;
    }
    if n == 0 || d <= 0.0 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let count = n as f64;
    let (steps, last) = (count * d, count * (1.0 - d));
    let squared = steps * d;
    let term = |j: f64| {
        let p = d + j / count;
        binomial_density(j, count, p) * d / p
    };
    let sum = if steps > 40.0 && squared > 2.0 && last > 2.0 * NODES {
        let stride = last / NODES;
        stride * (1..NODES as u32).map(|node| term(f64::from(node) * stride)).sum::<f64>()
    } else if steps > 60.0 && squared <= 2.0 {
        double_exponential(last, term)
    } else if n > 1_000_000 {
        (-(6.0 * steps + 1.0).powi(2) / (18.0 * count)).exp()
    } else if n <= 500 && squared < 100.0 {
        smirnov_sum(d, count)
    } else {
        // The term at j = n(1 - d) is 0 for d > 0: (1 - p)^(n - j) with p = 1.
        let mut sum = (count * (-d).ln_1p()).exp();
        let mut j = 1.0;
        while j < last {
            sum += term(j);
            j += 1.0;
        }
        sum
    };
    sum.min(1.0)
}

/// The integral of a bump over 0..end that falls off faster than any power at both ends (H. Takahasi, M. Mori, Double
/// Exponential Formulas for Numerical Integration, 1974).
fn double_exponential(end: f64, term: impl Fn(f64) -> f64) -> f64 {
    const REACH: f64 = 3.8;
    const STEPS: u32 = 400;
    let width = 2.0 * REACH / f64::from(STEPS);
    let node = |step: u32| {
        let t = width * f64::from(step) - REACH;
        let u = 0.5 * PI * t.sinh();
        let tail = (-2.0 * u.abs()).exp();
        let share = if u < 0.0 { tail / (1.0 + tail) } else { 1.0 / (1.0 + tail) };
        let j = end * share;
        let weight = PI * t.cosh() * tail / ((1.0 + tail) * (1.0 + tail));
        if j > 0.0 && j < end { term(j) * weight } else { 0.0 }
    };
    end * width * (0..=STEPS).map(node).sum::<f64>()
}

/// Smirnov's sum for some hundred values, where binomial coefficients fit in a float.
fn smirnov_sum(d: f64, n: f64) -> f64 {
    let (steps, last) = (n * d, n * (1.0 - d));
    let mut sum = (n * (-d).ln_1p()).exp();
    let (mut choose, mut j) = (1.0, 1.0);
    while j < last {
        choose *= (n - j + 1.0) / j;
        let p = (steps + j) / n;
        sum += choose * d * ((j - 1.0) * p.ln() + (n - j) * ((last - j) / n).ln()).exp();
        j += 1.0;
    }
    sum
}

/// P(K > z) of Kolmogorov's limiting distribution, the limit of sqrt(n) D_n.
///
/// Two series, each used where it converges in a few terms. `z` <= 0 gives 1, NaN gives NaN.
///
/// ```
/// use mlops_drift::special::kolmogorov_sf;
///
/// assert!((kolmogorov_sf(1.36) - 0.049485876755377876).abs() < 1e-15);
/// ```
pub fn kolmogorov_sf(z: f64) -> f64 {
    if z.is_nan() {
        return f64::NAN;
    }
    if z <= 0.04 {
        return 1.0;
    }
    if z < 0.82 {
        let power = -PI * PI / (8.0 * z * z);
        let sum: f64 = [1.0, 9.0, 25.0, 49.0].iter().map(|square| (square * power).exp()).sum();
        return 1.0 - (2.0 * PI).sqrt() / z * sum;
    }
    let power = -2.0 * z * z;
    2.0 * ((power).exp() - (4.0 * power).exp() + (9.0 * power).exp() - (16.0 * power).exp())
}

/// Pr(D_n < d) by Durbin's matrix: n!/n^n times the middle entry of its n-th power.
fn durbin_cdf(d: f64, n: u64) -> f64 {
    let steps = n as f64 * d;
    let ceiling = steps.ceil();
    let rest = ceiling - steps;
    // kstwo_sf comes here with n d < 100 only.
    let middle = ceiling as usize - 1;
    let size = 2 * middle + 1;
    if n <= 1_000 {
        return Arch::new().dispatch(DurbinBand { size, rest, n: n as usize });
    }
    let matrix = durbin_matrix(size, rest);
    let (entry, exponent) = middle_of_power(matrix, size, middle, n);
    (entry.ln() + exponent * std::f64::consts::LN_2 + ln_factorial_over_power(n as f64)).exp()
}

/// The same for n up to 1000. But for its first column and last row the matrix holds 1/(i - j + 1)!, which is
/// nothing beyond 20 steps to the left; and it equals itself mirrored at the other diagonal, so that the middle entry
/// of the n-th power is the product of the middle rows of two halves, one of them reversed.
struct DurbinBand {
    size: usize,
    rest: f64,
    n: usize,
}

impl WithSimd for DurbinBand {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let Self { size, rest, n } = self;
        let mut weights = [1.0; TERMS];
        for k in 1..TERMS {
            weights[k] = weights[k - 1] / k as f64;
        }
        // What the edges take from the factorials: rest^(k+1) / (k+1)! for k = 0, 1, ...
        let mut lack = vec![rest; size];
        let mut factorial = vec![1.0; size];
        for k in 1..size {
            lack[k] = lack[k - 1] * rest / (k + 1) as f64;
            factorial[k] = factorial[k - 1] / (k + 1) as f64;
        }
        let corner = factorial[size - 1]
            * (1.0 - 2.0 * rest.powi(size as i32) + (2.0 * rest - 1.0).max(0.0).powi(size as i32));
        let room = size.next_multiple_of(WIDTH) + TERMS + WIDTH;
        let (mut row, mut next) = (vec![0.0; room], vec![0.0; room]);
        row[size / 2] = 1.0;
        let half = n / 2;
        let mut first = row.clone();
        for step in 1..=n - half {
            let scale = step as f64 / n as f64;
            let end = row[size - 1];
            let first_column: f64 =
                row[..size - 1].iter().zip(&factorial).zip(&lack).map(|((x, f), l)| x * (f - l)).sum();
            // Each step reaches one place further to the right of the middle.
            let filled = (size / 2 + step).min(size - 1).div_ceil(WIDTH);
            for (block, sums) in next[1..].chunks_exact_mut(WIDTH).take(filled).enumerate() {
                let mut lanes = [0.0; WIDTH];
                for (k, weight) in weights.iter().enumerate() {
                    let values = &row[block * WIDTH + k..][..WIDTH];
                    lanes.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
                }
                sums.copy_from_slice(&lanes);
            }
            next[0] = first_column + end * corner;
            next[1..size].iter_mut().rev().zip(&lack).for_each(|(sum, lack)| *sum -= end * lack);
            next[size..].fill(0.0);
            row.iter_mut().zip(&next).for_each(|(value, sum)| *value = sum * scale);
            if step == half {
                first.copy_from_slice(&row);
            }
        }
        // n! / n^n holds the factor of each half and the binomial coefficient.
        let choose: f64 = (1..=half).map(|i| (n - half + i) as f64 / i as f64).product();
        let product: f64 = first[..size].iter().zip(row[..size].iter().rev()).map(|(a, b)| a * b).sum();
        choose * product
    }
}

fn durbin_matrix(size: usize, rest: f64) -> Vec<f64> {
    let mut inverse_factorial = vec![1.0; size + 1];
    for k in 1..=size {
        inverse_factorial[k] = inverse_factorial[k - 1] / k as f64;
    }
    let mut matrix = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..size.min(row + 2) {
            matrix[row * size + column] = inverse_factorial[row + 1 - column];
        }
    }
    let mut power = 1.0;
    for k in 0..size {
        power *= rest;
        let edge = (1.0 - power) * inverse_factorial[k + 1];
        matrix[k * size] = edge;
        matrix[(size - 1) * size + (size - 1 - k)] = edge;
    }
    let corner = 1.0 - 2.0 * power + (2.0 * rest - 1.0).max(0.0).powi(size as i32);
    matrix[(size - 1) * size] = corner * inverse_factorial[size];
    matrix
}

/// The middle entry of the n-th power, times 2 to the second number.
fn middle_of_power(mut base: Vec<f64>, size: usize, middle: usize, n: u64) -> (f64, f64) {
    let mut row = vec![0.0; size];
    row[middle] = 1.0;
    let (mut exponent, mut base_exponent) = (0.0, 0.0);
    let mut rest = n;
    while rest > 0 {
        if rest % 2 == 1 {
            row = times(&row, &base, size);
            exponent += base_exponent;
        }
        rest /= 2;
        if rest > 0 {
            base = times(&base, &base, size);
            base_exponent *= 2.0;
            if base[middle * size + middle] > SCALE {
                base.iter_mut().for_each(|value| *value /= SCALE);
                base_exponent += SCALE.log2();
            }
        }
        if row[middle] > SCALE {
            row.iter_mut().for_each(|value| *value /= SCALE);
            exponent += SCALE.log2();
        }
    }
    (row[middle], exponent)
}

/// The product of some rows of `size` columns with a square matrix.
fn times(rows: &[f64], matrix: &[f64], size: usize) -> Vec<f64> {
    let mut product = vec![0.0; rows.len()];
    for (row, sums) in rows.chunks_exact(size).zip(product.chunks_exact_mut(size)) {
        for (weight, line) in row.iter().zip(matrix.chunks_exact(size)) {
            sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    product
}

/// Pr(D_n <= d) by the expansion K0 + K1/n^1/2 + K2/n + K3/n^3/2, each a theta series in z = sqrt(n) d.
fn pelz_good_cdf(d: f64, n: f64) -> f64 {
    let z = n.sqrt() * d;
    let (z2, pi2) = (z * z, PI * PI);
    let z4 = z2 * z2;
    let z6 = z4 * z2;
    let terms = (16.0 * z / PI).ceil() as u32;
    let [mut k0, mut k1, mut k2, mut k3] = [0.0; 4];
    for k in (1..=terms).rev() {
        let odd2 = f64::from(2 * k - 1).powi(2);
        let odd = pi2 * odd2;
        let weight = (-odd / (8.0 * z2)).exp();
        k0 += weight;
        k1 += weight * (odd / 4.0 - z2);
        k2 += weight
            * (6.0 * z6 + 2.0 * z4 + odd * (2.0 * z4 - 5.0 * z2) / 4.0 + odd * odd * (1.0 - 2.0 * z2) / 16.0);
        k3 += weight
            * (odd.powi(3) * (5.0 - 30.0 * z2) / 64.0
                + odd * odd * (212.0 * z4 - 60.0 * z2) / 16.0
                + odd * (135.0 * z4 - 96.0 * z6) / 4.0
                - 30.0 * z6
                - 90.0 * z4 * z4);
    }
    k1 /= 6.0 * z2 * z;
    k2 /= 72.0 * z6;
    k3 /= 6480.0 * z6 * z2 * z;
    for k in 1..=terms {
        let even = pi2 * f64::from(k).powi(2);
        let weight = (-even / (2.0 * z2)).exp();
        k2 -= weight * even / (36.0 * z2);
        k3 += weight * even * (3.0 * z2 - even) / (216.0 * z4 * z);
    }
    (2.0 * PI).sqrt() / z * (k0 + k1 / n.sqrt() + k2 / n + k3 / (n * n.sqrt()))
}

/// ln(n!/n^n) with n ln n taken out first.
fn ln_factorial_over_power(n: f64) -> f64 {
    0.5 * (2.0 * PI * n).ln() - n + stirling_error(n)
}

/// Below this n d^2 the distribution function is less than 1e-14.
const LOWEST: f64 = 0.036;
/// Of the trapezoidal rule.
const NODES: f64 = 96.0;
/// Inverse factorials that count: 1/21! is 2e-20.
const TERMS: usize = 21;
/// Sums of a row that are made together.
const WIDTH: usize = 16;
/// 2^127, by which powers of a matrix are kept in range.
const SCALE: f64 = (1u128 << 127) as f64;
