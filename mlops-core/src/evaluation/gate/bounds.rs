//! Between which ends a metric or a difference lies, as far as the data tell.

use crate::evaluation::Metric;
use crate::experiment::special::{beta_quantile, student_quantile};
use crate::{Error, Result};

/// The lower and the upper one-sided bound of a metric over so many rows.
pub(super) fn of_metric(metric: &Metric, rows: u64, confidence: f64) -> Result<[f64; 2]> {
    let two_sided = 2.0 * confidence - 1.0;
    if let (Some(interval), Some(given)) = (metric.interval, metric.confidence)
        && (given - two_sided).abs() < 1e-9
    {
        return Ok([interval.lower(), interval.upper()]);
    }
    let value = metric.value;
    if let Some(trials) = metric.trials {
        return of_share(value, trials, confidence);
    }
    let reach = of_std_error(metric.std_error, rows, confidence)?;
    Ok([value - reach, value + reach])
}

/// How far a value of this standard error may be off.
pub(super) fn of_std_error(std_error: Option<f64>, rows: u64, confidence: f64) -> Result<f64> {
    let std_error = std_error.filter(|error| error.is_finite()).ok_or_else(|| {
        Error::data("the metric has no standard error: ask for the point, or add one by a bootstrap")
    })?;
    if std_error <= 0.0 {
        return Err(Error::data(
            "the standard error is 0: rows that all agree show no spread to judge by: give more rows, or ask \
             for the point",
        ));
    }
    if rows < 2 {
        return Err(Error::data(format!(
            "{rows} rows prove nothing: give two or more, or ask for the point"
        )));
    }
    Ok(std_error * student_quantile(1.0 - confidence, (rows - 1) as f64))
}

/// The bounds of a difference of two metrics, from those of each.
pub(super) fn of_difference(ours: (f64, [f64; 2]), theirs: (f64, [f64; 2])) -> [f64; 2] {
    let reach = |(value, [low, high]): (f64, [f64; 2])| [(value - low).max(0.0), (high - value).max(0.0)];
    let ([our_down, our_up], [their_down, their_up]) = (reach(ours), reach(theirs));
    let difference = ours.0 - theirs.0;
    [difference - our_down.hypot(their_up), difference + our_up.hypot(their_down)]
}

/// Clopper and Pearson's bounds.
fn of_share(share: f64, trials: f64, confidence: f64) -> Result<[f64; 2]> {
    if !((0.0..=1.0).contains(&share) && trials > 0.0 && trials.is_finite()) {
        return Err(Error::data(format!("{share} is no share of {trials} rows: its bounds are unknown")));
    }
    let (hits, misses) = (share * trials, (1.0 - share) * trials);
    let tail = 1.0 - confidence;
    let low = if share <= 0.0 { 0.0 } else { beta_quantile(tail, hits, misses + 1.0) };
    let high = if share >= 1.0 { 1.0 } else { beta_quantile(confidence, hits + 1.0, misses) };
    Ok([low, high])
}
