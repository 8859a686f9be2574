//! What an encoder shall do with each column.

use serde::{Deserialize, Serialize};

/// The columns to encode, in order, each with its transform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncoderSpec {
    pub(super) columns: Vec<(String, Transform)>,
}

impl EncoderSpec {
    /// Encodes these columns in this order. A column may come more than once, with other transforms.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Transform)>) -> Self {
        Self { columns: columns.into_iter().map(|(name, transform)| (name.to_owned(), transform)).collect() }
    }

    /// The columns with their transforms.
    pub fn columns(&self) -> &[(String, Transform)] {
        &self.columns
    }
}

/// How one column becomes numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transform {
    /// One number: the cell itself, scaled.
    Numeric {
        /// How it is scaled.
        scaling: Scaling,
        /// What stands for a missing cell.
        missing: Missing,
    },
    /// The number of edges at or below the cell: 0 below the first edge, `edges.len()` from the last on.
    Bucketise {
        /// Finite edges in rising order.
        edges: Vec<f64>,
        /// What stands for a missing cell, as the number of a bucket.
        missing: Missing,
    },
    /// A 1 in the place of the cell's category, 0 elsewhere; all 0 for a rare, unseen or missing one.
    OneHot {
        /// Only this many categories get a place: the most frequent, then the first in order.
        categories_max: usize,
    },
    /// The index of the category, the most frequent first; `categories_max` for a rare or unseen one, -1 for
    /// a missing one.
    Vocabulary {
        /// Only this many categories get an index.
        categories_max: usize,
    },
    /// A 1 in the place that the category's hash falls on, 0 elsewhere; all 0 for a missing one.
    Hash {
        /// The number of places.
        buckets: u32,
    },
    /// Parts of a time in UTC, as numbers; NaN for a missing one.
    DateParts {
        /// Which parts, in order.
        parts: Vec<DatePart>,
    },
}

impl Transform {
    /// The number as it is; a missing cell is NaN, which trees take as a value of its own.
    pub fn passthrough() -> Self {
        Self::Numeric { scaling: Scaling::None, missing: Missing::NaN }
    }

    /// Mean 0 and standard deviation 1 on the training rows; a missing cell is the mean.
    pub fn standardise() -> Self {
        Self::Numeric { scaling: Scaling::Standardise, missing: Missing::Mean }
    }

    /// A place for each of the most frequent categories.
    pub fn one_hot(categories_max: usize) -> Self {
        Self::OneHot { categories_max }
    }
}

/// How a number is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scaling {
    /// Not at all.
    #[default]
    None,
    /// `(x - mean) / sd` with the population standard deviation of the training rows; 0 if that is 0.
    Standardise,
    /// `(x - min) / (max - min)` of the training rows; 0 if they are equal. New cells may fall outside 0..1.
    MinMax,
}

/// What stands for a missing, NaN or infinite cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missing {
    /// NaN: for models that take it, as trees do.
    NaN,
    /// The mean of the training rows.
    Mean,
    /// The median of the training rows.
    Median,
    /// This number, before scaling.
    Value(f64),
}

/// A part of a time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DatePart {
    /// 0 to 23.
    Hour,
    /// 1 (Monday) to 7.
    Weekday,
    /// 1 to 31.
    Day,
    /// 1 to 12.
    Month,
    /// The year.
    Year,
}

impl DatePart {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Weekday => "weekday",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}
