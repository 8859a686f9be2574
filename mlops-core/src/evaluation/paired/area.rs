//! The areas under the ROC curves of two models.

use super::{PairedBinary, PairedRow, PairedTest};
use crate::Result;
use crate::evaluation::binary::Scored;
use crate::evaluation::error::same_length;
use crate::evaluation::metric::MetricState;
use crate::evaluation::{Evaluation, Mean, Metric};
use crate::experiment::special::normal_upper_tail;

/// DeLong's test of two areas under the ROC curve on the same rows. O(n log n).
///
/// `None` with fewer than two rows of a class. Rankings that agree in every pair give p = 1. Source: E. R.
/// DeLong, D. M. DeLong, D. L. Clarke-Pearson, 1988; the fast form is X. Sun, W. Xu, "Fast implementation of
/// DeLong's algorithm", 2014.
///
/// # Errors
/// `Invalid` if the lengths differ, `Data` if a score is not finite.
///
/// ```
/// use mlops_core::evaluation::paired::paired_roc_auc;
///
/// let labels = [true, true, true, false, false, false];
/// let test = paired_roc_auc(&labels, &[0.9, 0.8, 0.4, 0.5, 0.3, 0.2], &[0.7, 0.3, 0.4, 0.5, 0.6, 0.2])?;
/// assert!((test.unwrap().difference - 1.0 / 3.0).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn paired_roc_auc(labels: &[bool], candidate: &[f64], champion: &[f64]) -> Result<Option<PairedTest>> {
    same_length("candidate's scores", candidate.len(), labels.len())?;
    same_length("champion's scores", champion.len(), labels.len())?;
    let (ours, theirs) = (Scored::new(labels, candidate)?, Scored::new(labels, champion)?);
    let (Some(our_area), Some(their_area)) = (ours.roc_auc(), theirs.roc_auc()) else { return Ok(None) };
    let difference = our_area - their_area;
    let (ours, theirs) = (placements(labels, candidate), placements(labels, champion));
    let mut variance = 0.0;
    for class in [true, false] {
        let mut gaps = Mean::default();
        let rows = labels.iter().zip(ours.iter().zip(&theirs)).filter(|row| *row.0 == class);
        rows.for_each(|(_, (ours, theirs))| gaps.add(ours - theirs, 1.0));
        let Some(spread) = gaps.variance() else { return Ok(None) };
        variance += spread / gaps.weight();
    }
    let std_error = variance.sqrt();
    let p_value = if std_error > 0.0 {
        2.0 * normal_upper_tail((difference / std_error).abs())
    } else {
        f64::from(u8::from(difference == 0.0))
    };
    Ok(Some(PairedTest { difference, std_error, p_value }))
}

/// For each row the share of the other class that it is ordered right against, ties counting half.
fn placements(labels: &[bool], scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let positives = labels.iter().filter(|&&label| label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    let (mut positives_below, mut negatives_below) = (0.0, 0.0);
    let mut placements = vec![0.0; scores.len()];
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let hits = tied.iter().filter(|&&row| labels[row]).count() as f64;
        let misses = tied.len() as f64 - hits;
        for &row in tied {
            placements[row] = if labels[row] {
                (negatives_below + misses / 2.0) / negatives
            } else {
                (positives - positives_below - hits / 2.0) / positives
            };
        }
        positives_below += hits;
        negatives_below += misses;
    }
    placements
}

/// The differences of two binary models on rows at hand, `roc_auc` included: what
/// [`Against::champion_paired`](crate::evaluation::Against::champion_paired) takes.
///
/// # Errors
/// `Invalid` if the lengths differ or the threshold is NaN, `Data` if a probability is outside 0..=1.
pub fn paired_evaluation(
    labels: &[bool],
    candidate: &[f64],
    champion: &[f64],
    threshold: f64,
) -> Result<Evaluation> {
    let area = paired_roc_auc(labels, candidate, champion)?;
    let mut paired = PairedBinary::new(threshold)?;
    for ((&label, &candidate), &champion) in labels.iter().zip(candidate).zip(champion) {
        paired.push(&PairedRow { label, candidate, champion })?;
    }
    let evaluation = Evaluation::of(&paired);
    Ok(match area {
        Some(area) => {
            evaluation.with("roc_auc", Metric::new(area.difference).with_std_error(Some(area.std_error)))
        }
        None => evaluation,
    })
}
