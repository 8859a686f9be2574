//! Binomial and hypergeometric probabilities that keep their digits at any size (C. Loader, Fast and Accurate
//! Computation of Binomial Probabilities, 2000).

use std::f64::consts::PI;

/// The probability that `x` of `k` drawn are marked, when `marked` of `total` are and 0 < k < total.
pub(crate) fn hypergeometric(x: f64, k: f64, marked: f64, total: f64) -> f64 {
    let p = k / total;
    binomial_density(x, marked, p) * binomial_density(k - x, total - marked, p)
        / binomial_density(k, total, p)
}

/// The binomial probability of `j` of `n` at `p`, all real, 0 <= j <= n, 0 < p < 1.
pub(crate) fn binomial_density(j: f64, n: f64, p: f64) -> f64 {
    let rest = n - j;
    if j <= 0.0 {
        return (n * (-p).ln_1p()).exp();
    }
    if rest <= 0.0 {
        return (n * p.ln()).exp();
    }
    let log = stirling_error(n)
        - stirling_error(j)
        - stirling_error(rest)
        - deviance(j, n * p)
        - deviance(rest, n * (1.0 - p));
    log.exp() * (n / (2.0 * PI * j * rest)).sqrt()
}

/// ln(x!) less Stirling's formula, for real x > 0.
pub(crate) fn stirling_error(x: f64) -> f64 {
    if x < 16.0 {
        return statrs::function::gamma::ln_gamma(x + 1.0) - (x + 0.5) * x.ln() + x - 0.5 * (2.0 * PI).ln();
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    inverse
        * (1.0 / 12.0
            - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))))
}

/// x ln(x/m) + m - x without cancellation near x = m.
fn deviance(x: f64, m: f64) -> f64 {
    let difference = x - m;
    if difference.abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() - difference;
    }
    let ratio = difference / (x + m);
    let square = ratio * ratio;
    let mut sum = difference * ratio;
    let mut power = 2.0 * x * ratio;
    for odd in 1..200 {
        power *= square;
        let next = sum + power / f64::from(2 * odd + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}
