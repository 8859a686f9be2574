//! Kolmogorov's and Smirnov's distributions at finite sample sizes and in the limit.
//!
//! Exact: Durbin's matrix (J. Durbin, The Probability that the Sample Distribution Function Lies Between
//! Two Parallel Straight Lines, 1968; G. Marsaglia, W. Tsang, J. Wang, Evaluating Kolmogorov's
//! Distribution, 2003) and Smirnov's sum. Asymptotic: W. Pelz, I. J. Good, Approximating the Lower
//! Tail-areas of the Kolmogorov-Smirnov One-sample Statistic, 1976. Which one where: R. Simard,
//! P. L'Ecuyer, Computing the Two-Sided Kolmogorov-Smirnov Distribution, 2011.

use std::f64::consts::PI;

use super::binomial::{binomial_density, stirling_error};

/// P(D_n >= d) of the two-sided one-sample Kolmogorov-Smirnov statistic of `n` values.
///
/// Exact for n <= 140; above, relative error below 2e-6 (twice the one-sided tail from n d^2 >= 2.2 on,
/// Pelz and Good's expansion below), the same choices as SciPy's `kstwo.sf`. `d` outside 0..=1 gives 1 or
/// 0, NaN gives NaN, n = 0 gives 1.
///
/// Cost: constant beyond n of a few thousand; O(n^2 d^2 n) for n <= 140.
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
/// Smirnov's sum of positive terms, each a binomial probability in Loader's form: relative error about
/// 1e-13. Where both ends of a long sum vanish (n d > 60) the terms are a smooth bump and a trapezoidal rule
/// of 192 nodes adds them to the same accuracy. Cost: 192 terms there, else n (1 - d).
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
    let last = count * (1.0 - d);
    let term = |j: f64| {
        let p = d + j / count;
        binomial_density(j, count, p) * d / p
    };
    let first = (count * (-d).ln_1p()).exp();
    let sum = if count * d > 60.0 && last > 4.0 * NODES {
        let stride = last / NODES;
        stride * (1..NODES as u32).map(|node| term(f64::from(node) * stride)).sum::<f64>()
    } else {
        // The term at j = n(1 - d) is 0 for d > 0: (1 - p)^(n - j) with p = 1.
        let mut sum = first;
        let mut j = 1.0;
        while j < last {
            sum += term(j);
            j += 1.0;
        }
        sum
    };
    sum.min(1.0)
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
    let matrix = durbin_matrix(size, rest);
    if n <= 1_000 {
        let mut row = vec![0.0; size];
        row[middle] = 1.0;
        let mut next = vec![0.0; size];
        for step in 1..=n {
            let scale = step as f64 / n as f64;
            next.fill(0.0);
            for (weight, line) in row.iter().zip(matrix.chunks_exact(size)) {
                next.iter_mut().zip(line).for_each(|(sum, value)| *sum += weight * value);
            }
            row.iter_mut().zip(&next).for_each(|(value, sum)| *value = sum * scale);
        }
        return row[middle];
    }
    let (entry, exponent) = middle_of_power(matrix, size, middle, n);
    (entry.ln() + exponent * std::f64::consts::LN_2 + ln_factorial_over_power(n as f64)).exp()
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
const NODES: f64 = 192.0;
/// 2^128, by which powers of a matrix are kept in range.
const SCALE: f64 = (1u128 << 127) as f64;
