//! Quantiles to the bit of `numpy.quantile`.

/// The inner edges that cut the values into `bins` bins of equal numbers of rows.
///
/// Linear interpolation between order statistics, with numpy's order of operations. Empty without values.
pub(crate) fn quantile_edges(values: &[f64], bins: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let step = 1.0 / bins as f64;
    (1..bins).filter_map(|k| quantile_of_sorted(&sorted, k as f64 * step)).collect()
}

/// The quantile `q` in 0..=1 of ascending values; `None` without values.
pub(crate) fn quantile_of_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let position = q * sorted.len().checked_sub(1)? as f64;
    let below = sorted[position.floor() as usize];
    let above = sorted[(position.floor() as usize + 1).min(sorted.len() - 1)];
    let share = position - position.floor();
    let gap = above - below;
    Some(if share >= 0.5 { above - gap * (1.0 - share) } else { below + gap * share })
}

/// The quantile `q` in 0..=1 of weighted values: the inverse of the weighted distribution function, averaged
/// with the next value where it is flat. `None` without weight.
///
/// As scikit-learn's averaged weighted percentile.
pub(crate) fn weighted_quantile(values: &[f64], weights: Option<&[f64]>, q: f64) -> Option<f64> {
    let mut rows: Vec<(f64, f64)> = values.iter().map(|&value| (value, 1.0)).collect();
    if let Some(weights) = weights {
        rows.iter_mut().zip(weights).for_each(|(row, &weight)| row.1 = weight);
    }
    rows.retain(|row| row.1 > 0.0);
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut total = 0.0;
    let reached = rows.iter().map(|row| {
        total += row.1;
        total
    });
    let reached: Vec<f64> = reached.collect();
    let target = q * reached.last()?;
    let place = reached.partition_point(|&weight| weight < target).min(rows.len() - 1);
    let value = rows[place].0;
    if reached[place] - target > f64::EPSILON {
        return Some(value);
    }
    Some((value + rows.get(place + 1).map_or(value, |next| next.0)) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_between_order_statistics() {
        assert_eq!(quantile_of_sorted(&[1.0, 2.0, 4.0], 0.5), Some(2.0));
        assert_eq!(quantile_of_sorted(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile_of_sorted(&[1.0, 2.0, 4.0], 1.0), Some(4.0));
        assert_eq!(quantile_of_sorted(&[], 0.5), None);
        assert_eq!(weighted_quantile(&[4.0, 1.0, 2.0], None, 0.5), Some(2.0));
        assert_eq!(weighted_quantile(&[4.0, 1.0], None, 0.5), Some(2.5));
        assert_eq!(weighted_quantile(&[4.0, 1.0, 9.0], Some(&[1.0, 3.0, 0.0]), 0.9), Some(4.0));
        assert_eq!(weighted_quantile(&[4.0], Some(&[0.0]), 0.5), None);
        assert_eq!(quantile_edges(&[3.0, 1.0, 2.0, 4.0, 5.0], 2), [3.0]);
    }
}
