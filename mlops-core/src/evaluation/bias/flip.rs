//! Would the model decide otherwise if the rows of d were rows of a?

use ndarray::ArrayView2;

use crate::evaluation::error::{MetricError, same_length};
use crate::{Error, Result};

/// Clarify's flip test (FT): (F+ - F-) / n_d.
///
/// Each row of d is compared with the majority prediction of its nearest rows of a (Euclidean distance, the
/// features as they are, so scale them first): F+ counts rows of d that are positive where their neighbours
/// are not, F- the opposite. Above 0: the model favours d. Five neighbours, one if a has fewer than ten rows,
/// as in Clarify; equally distant rows are taken in order.
///
/// Cost: n_a times n_d times columns. Sample before you call it on millions of rows. Source: E. Black,
/// S. Yeom, M. Fredrikson, "FlipTest: fairness testing via optimal transport", 2020 (Clarify approximates it).
///
/// # Errors
/// `Invalid` if the lengths differ, `Data` if a feature is NaN or infinite or one side has no rows.
///
/// ```
/// use mlops_core::evaluation::bias::flip_test;
/// use ndarray::array;
///
/// let features = array![[0.0], [1.0], [0.1], [0.9]];
/// let is_d = [false, false, true, true];
/// // The neighbours say no and yes; the model says yes and yes.
/// assert_eq!(flip_test(&features.view(), &is_d, &[false, true, true, true])?, 0.5);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn flip_test(features: &ArrayView2<'_, f64>, is_d: &[bool], predictions: &[bool]) -> Result<f64> {
    let rows = features.nrows();
    same_length("facets", is_d.len(), rows)?;
    same_length("predictions", predictions.len(), rows)?;
    for ((row, _), &value) in features.indexed_iter() {
        if !value.is_finite() {
            return Err(MetricError::NonFinite { what: "feature", row, value }.into());
        }
    }
    let side = |d: bool| (0..rows).filter(|&row| is_d[row] == d).collect::<Vec<_>>();
    let (side_a, side_d) = (side(false), side(true));
    if side_a.is_empty() || side_d.is_empty() {
        return Err(Error::data("all rows are on one side: the flip test needs rows of both facets"));
    }
    let neighbours = if side_a.len() > 9 { 5 } else { 1 };
    let mut flips = 0_i64;
    let mut distances = Vec::with_capacity(side_a.len());
    for &row in &side_d {
        let here = features.row(row);
        distances.clear();
        distances.extend(side_a.iter().map(|&other| {
            let gaps = here.iter().zip(features.row(other)).map(|(x, y)| (x - y).powi(2));
            (gaps.sum::<f64>(), other)
        }));
        // The pairs are distinct by their row, so the nearest ones are the same on every run.
        distances.select_nth_unstable_by(neighbours - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let votes = distances[..neighbours].iter().filter(|&&(_, other)| predictions[other]).count();
        flips += i64::from(predictions[row]) - i64::from(votes * 2 > neighbours);
    }
    Ok(flips as f64 / side_d.len() as f64)
}
