//! Where does the model fail? A search over slices of rows.

use std::collections::BTreeMap;

use super::Slice;
use super::error::{MetricError, same_length, values};
use super::sum::Mean;
use crate::Result;
use crate::experiment::correction;
use crate::experiment::special::student_upper_tail;
use serde::{Deserialize, Serialize};

/// Finds the slices, also of two features together, whose loss is larger than that of the other rows.
///
/// Each slice of enough rows is tested against all other rows (Welch's t, one-sided); p-values are corrected for
/// the number of slices by Holm. Kept are those below `alpha`, the largest effect first; a narrower slice only if its effect exceeds that of every
/// wider one that is kept. Cost: combinations of columns times rows. Source: Y. Chung, T. Kraska,
/// N. Polyzotis, K. H. Tae, S. E. Whang, "Slice Finder: automated data slicing for model validation", 2019.
///
/// ```
/// use mlops_core::evaluation::SliceSearch;
///
/// let visitor: Vec<&str> = (0..400).map(|row| if row % 4 == 0 { "new" } else { "returning" }).collect();
/// let weekend: Vec<&str> = (0..400).map(|row| if row % 2 == 0 { "yes" } else { "no" }).collect();
/// let loss: Vec<f64> = (0..400).map(|row| f64::from(row % 3) + if row % 4 == 0 { 2.0 } else { 0.0 }).collect();
/// let found = SliceSearch::default().find(&[("visitor", &visitor), ("weekend", &weekend)], &loss)?;
/// assert_eq!(found[0].to_string(), "visitor=new");
/// assert!(found[0].mean_loss > 2.5 && found[0].p_value < 1e-6);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SliceSearch {
    /// How many features a slice may combine, 1 to 3. Default 2.
    pub depth: usize,
    /// The fewest rows of a slice. Default 30.
    pub min_rows: u64,
    /// The chance of any false find. Default 0.05.
    pub alpha: f64,
    /// The most slices to return. Default 10.
    pub top: usize,
}

impl Default for SliceSearch {
    fn default() -> Self {
        Self { depth: 2, min_rows: 30, alpha: 0.05, top: 10 }
    }
}

/// A slice whose loss stands out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeakSlice {
    /// What its rows have in common.
    pub conditions: Vec<Slice>,
    /// The number of its rows.
    pub rows: u64,
    /// Their mean loss.
    pub mean_loss: f64,
    /// The mean loss of all other rows.
    pub mean_loss_elsewhere: f64,
    /// The gap over the pooled standard deviation: 0.2 is small, 0.8 large.
    pub effect_size: f64,
    /// The corrected one-sided p-value.
    pub p_value: f64,
}

impl std::fmt::Display for WeakSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, condition) in self.conditions.iter().enumerate() {
            write!(f, "{}{condition}", if index == 0 { "" } else { " and " })?;
        }
        Ok(())
    }
}

impl SliceSearch {
    /// The weak slices of rows with these columns and losses.
    ///
    /// # Errors
    /// `Invalid` if a column differs in length from the losses or a setting is out of range, `Data` if a loss
    /// is not finite or above 1e90 in size.
    pub fn find(&self, columns: &[(&str, &[&str])], loss: &[f64]) -> Result<Vec<WeakSlice>> {
        if !(1..=3).contains(&self.depth) {
            return Err(
                MetricError::Setting { what: "depth", value: self.depth as f64, want: "1 to 3" }.into()
            );
        }
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            let want = "above 0 and below 1";
            return Err(MetricError::Setting { what: "alpha", value: self.alpha, want }.into());
        }
        values("loss", loss)?;
        columns.iter().try_for_each(|(_, values)| same_length("values", values.len(), loss.len()))?;
        let mut all = Mean::default();
        all.extend(loss);
        let mut found = Vec::new();
        for chosen in combinations(columns.len(), self.depth) {
            let mut parts: BTreeMap<Vec<&str>, Mean> = BTreeMap::new();
            for (row, &loss) in loss.iter().enumerate() {
                let key: Vec<&str> = chosen.iter().map(|&column| columns[column].1[row]).collect();
                parts.entry(key).or_default().add(loss, 1.0);
            }
            for (values, part) in parts {
                if part.weight() >= (self.min_rows.max(2)) as f64 && all.weight() - part.weight() >= 2.0 {
                    let named = chosen.iter().zip(values);
                    let named = named.map(|(&column, value)| Slice {
                        feature: columns[column].0.to_owned(),
                        value: value.to_owned(),
                    });
                    found.extend(compare(named.collect(), &part, &all));
                }
            }
        }
        let corrected = correction::holm(&found.iter().map(|slice| slice.p_value).collect::<Vec<_>>())?;
        found.iter_mut().zip(corrected).for_each(|(slice, p_value)| slice.p_value = p_value);
        found.retain(|slice| slice.p_value <= self.alpha && slice.effect_size > 0.0);
        found.sort_by(|a, b| {
            b.effect_size.total_cmp(&a.effect_size).then(a.conditions.len().cmp(&b.conditions.len()))
        });
        let wider = |inner: &WeakSlice, outer: &WeakSlice| {
            outer.conditions.len() < inner.conditions.len()
                && outer.conditions.iter().all(|condition| inner.conditions.contains(condition))
        };
        let mut kept: Vec<WeakSlice> = Vec::new();
        for slice in found {
            if !kept.iter().any(|better| wider(&slice, better)) {
                kept.push(slice);
            }
        }
        kept.truncate(self.top);
        Ok(kept)
    }
}

/// The slice against all other rows.
fn compare(conditions: Vec<Slice>, part: &Mean, all: &Mean) -> Option<WeakSlice> {
    let (rows, total) = (part.weight(), all.weight());
    let others = total - rows;
    let mean_loss = part.value()?;
    // The other rows are all rows less the slice: Chan's merge, turned round.
    let mean_loss_elsewhere = mean_loss + (all.value()? - mean_loss) * total / others;
    let gap = mean_loss - mean_loss_elsewhere;
    let squares = (all.squares() - part.squares() - gap * gap * (rows * others / total)).max(0.0);
    let variances = [part.squares() / (rows - 1.0), squares / (others - 1.0)];
    let [own, rest] = [variances[0] / rows, variances[1] / others];
    let pooled = f64::midpoint(variances[0], variances[1]).sqrt();
    let p_value = if own + rest > 0.0 {
        // Shares, so that no square overflows.
        let (own_share, rest_share) = (own / (own + rest), rest / (own + rest));
        let degrees = 1.0 / (own_share * own_share / (rows - 1.0) + rest_share * rest_share / (others - 1.0));
        student_upper_tail(gap / (own + rest).sqrt(), degrees)
    } else {
        f64::from(u8::from(gap <= 0.0))
    };
    let effect_size =
        if pooled > 0.0 { gap / pooled } else { gap.signum() * f64::from(u8::from(gap != 0.0)) };
    Some(WeakSlice { conditions, rows: rows as u64, mean_loss, mean_loss_elsewhere, effect_size, p_value })
}

/// All choices of 1 to `depth` out of `columns`, smaller ones first.
fn combinations(columns: usize, depth: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    let mut start = 0;
    for _ in 0..depth {
        let end = all.len();
        for index in start..end {
            let next = all[index].last().map_or(0, |last| last + 1);
            for column in next..columns {
                let mut longer = all[index].clone();
                longer.push(column);
                all.push(longer);
            }
        }
        start = end;
    }
    all.remove(0);
    all
}
