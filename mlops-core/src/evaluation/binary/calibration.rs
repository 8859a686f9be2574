//! Reliability tables: what was promised against what happened, bin by bin.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::evaluation::Sum;
use crate::evaluation::error::{MetricError, WEIGHT_MAX, in_range_at, row_after, stored_size, weight_at};

/// To which bin a probability on an edge belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinEdge {
    /// Bins are [a, b), the last one closed: an edge belongs to the bin above.
    #[default]
    LowerClosed,
    /// Bins are (a, b], the first one closed: an edge belongs to the bin below. scikit-learn's
    /// `calibration_curve` and Guo and others, 2017.
    UpperClosed,
}

/// One bin of a [`CalibrationTable`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Its lower edge.
    pub low: f64,
    /// Its upper edge.
    pub high: f64,
    /// The weight of its rows.
    pub weight: f64,
    /// The mean predicted probability.
    pub predicted: f64,
    /// The share of positives.
    pub observed: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cell {
    #[serde(deserialize_with = "stored_size")]
    weight: f64,
    #[serde(deserialize_with = "stored_size")]
    positive: f64,
    predicted: Sum,
}

/// Predicted probability against observed share of positives in bins. Merges; counts are exact.
///
/// ```
/// use mlops_core::evaluation::binary::{BinEdge, CalibrationTable};
///
/// let mut table = CalibrationTable::new(10, BinEdge::LowerClosed)?;
/// table.add(true, 0.9, 1.0)?;
/// table.add(false, 0.1, 1.0)?;
/// assert!((table.ece().unwrap() - 0.1).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct CalibrationTable {
    edge: BinEdge,
    edges: Vec<f64>,
    uniform: bool,
    cells: Vec<Cell>,
}

impl CalibrationTable {
    /// An empty table with bins of equal width over 0..=1.
    ///
    /// # Errors
    /// `Invalid` if `bins` is 0 or above 1,000,000.
    pub fn new(bins: usize, edge: BinEdge) -> Result<Self> {
        if bins == 0 || bins > MAX_BINS {
            let want = "1 to 1000000 bins";
            return Err(MetricError::Setting { what: "number of bins", value: bins as f64, want }.into());
        }
        // The inner edges of `numpy.linspace(0, 1, bins + 1)`, to the bit.
        let step = 1.0 / bins as f64;
        let edges = (1..bins).map(|k| k as f64 * step).collect();
        Ok(Self { edge, edges, uniform: true, cells: vec![Cell::default(); bins] })
    }

    /// An empty table whose inner edges are given, for instance quantiles of the probabilities.
    ///
    /// Equal edges are allowed and leave bins empty.
    ///
    /// # Errors
    /// `Invalid` if an edge is not in 0..=1 or smaller than the one before.
    pub fn with_edges(inner: &[f64], edge: BinEdge) -> Result<Self> {
        let mut before = 0.0;
        for &value in inner {
            if !(value >= before && value <= 1.0) {
                let want = "edges in 0..=1, none smaller than the one before";
                return Err(MetricError::Setting { what: "bin edge", value, want }.into());
            }
            before = value;
        }
        let cells = vec![Cell::default(); inner.len() + 1];
        Ok(Self { edge, edges: inner.to_vec(), uniform: false, cells })
    }

    /// Adds one row.
    ///
    /// # Errors
    /// `Data` if the probability is not in 0..=1, or the weight negative, not finite or above 1e20.
    #[inline]
    pub fn add(&mut self, label: bool, probability: f64, weight: f64) -> Result<()> {
        if !((0.0..=1.0).contains(&probability) && (0.0..=WEIGHT_MAX).contains(&weight)) {
            let row = row_after(self.cells.iter().map(|cell| cell.weight).sum::<f64>() as u64);
            in_range_at("probability", row, probability, 0.0, 1.0)?;
            weight_at(row, weight)?;
        }
        self.take(label, probability, weight);
        Ok(())
    }

    /// Adds one row that was checked.
    #[inline]
    pub(super) fn take(&mut self, label: bool, probability: f64, weight: f64) {
        let bin = self.bin_of(probability);
        let cell = &mut self.cells[bin];
        cell.weight += weight;
        cell.predicted.add(weight * probability);
        if label {
            cell.positive += weight;
        }
    }

    #[inline]
    fn bin_of(&self, probability: f64) -> usize {
        match self.edge {
            BinEdge::LowerClosed if self.uniform => {
                ((probability * self.cells.len() as f64) as usize).min(self.cells.len() - 1)
            }
            BinEdge::LowerClosed => self.edges.partition_point(|&edge| edge <= probability),
            BinEdge::UpperClosed => self.edges.partition_point(|&edge| edge < probability),
        }
    }

    /// Adds all rows of another table.
    ///
    /// # Errors
    /// `Invalid` if the tables have different bins.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.edge != other.edge || self.edges != other.edges || self.uniform != other.uniform {
            return Err(MetricError::Incompatible { what: "calibration tables" }.into());
        }
        for (cell, other) in self.cells.iter_mut().zip(&other.cells) {
            cell.weight += other.weight;
            cell.positive += other.positive;
            cell.predicted.merge(&other.predicted);
        }
        Ok(())
    }

    /// The bins that hold rows, from low to high: the reliability curve.
    pub fn bins(&self) -> impl Iterator<Item = Bin> {
        self.cells.iter().enumerate().filter(|(_, cell)| cell.weight > 0.0).map(|(index, cell)| Bin {
            low: if index == 0 { 0.0 } else { self.edges[index - 1] },
            high: self.edges.get(index).copied().unwrap_or(1.0),
            weight: cell.weight,
            predicted: cell.predicted.value() / cell.weight,
            observed: cell.positive / cell.weight,
        })
    }

    /// The expected calibration error: sum over bins of weight share times |predicted - observed|. 0 is perfect.
    ///
    /// This is the form for the probability of the positive class; it depends on the bins, so compare only
    /// tables with equal bins. `None` without rows. Source: M. P. Naeini, G. F. Cooper, M. Hauskrecht,
    /// "Obtaining well calibrated probabilities using Bayesian binning", 2015.
    pub fn ece(&self) -> Option<f64> {
        let total: f64 = self.cells.iter().map(|cell| cell.weight).sum();
        (total > 0.0)
            .then(|| self.bins().map(|bin| bin.weight / total * (bin.predicted - bin.observed).abs()).sum())
    }

    /// The maximum calibration error: the largest |predicted - observed| of a bin. `None` without rows.
    pub fn mce(&self) -> Option<f64> {
        self.bins().map(|bin| (bin.predicted - bin.observed).abs()).reduce(f64::max)
    }
}

/// A table as it was stored, not yet checked.
#[derive(Deserialize)]
struct Stored {
    edge: BinEdge,
    edges: Vec<f64>,
    uniform: bool,
    cells: Vec<Cell>,
}

impl TryFrom<Stored> for CalibrationTable {
    type Error = crate::Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let empty = if stored.uniform {
            Self::new(stored.cells.len(), stored.edge)?
        } else {
            Self::with_edges(&stored.edges, stored.edge)?
        };
        if empty.edges != stored.edges || empty.cells.len() != stored.cells.len() {
            return Err(MetricError::Incompatible { what: "calibration bins and their edges" }.into());
        }
        Ok(Self { cells: stored.cells, ..empty })
    }
}

const MAX_BINS: usize = 1_000_000;
