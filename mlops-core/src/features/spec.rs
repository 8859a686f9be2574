//! What an encoder shall do with each column.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The columns to encode, in order, each with its transform: into one matrix of floats, or into one for each
/// input of a model.
///
/// [`new`](Self::new) is for models with one input. A model with several, ids beside floats for instance, has a
/// [`floats`](Self::floats) or [`indices`](Self::indices) for each, by its name:
///
/// ```
/// use mlops_core::features::{EncoderSpec, Transform};
///
/// let spec = EncoderSpec::default()
///     .indices("user_id", [("visitor", Transform::Vocabulary { categories_max: 1000 })])
///     .indices("item_id", [("item", Transform::Hash { buckets: 500 })])
///     .floats("context", [("page_value", Transform::standardise()), ("weekend", Transform::passthrough())]);
/// assert_eq!(spec.columns().count(), 4);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct EncoderSpec {
    pub(super) feeds: Vec<FeedSpec>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FeedSpec {
    pub(super) input: Option<String>,
    pub(super) kind: Kind,
    pub(super) columns: Vec<(String, Transform)>,
}

/// What an input of a model is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Floats,
    Indices,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Matrix(Vec<(String, Transform)>),
    Feeds(Vec<FeedSpec>),
}

impl EncoderSpec {
    /// Encodes these columns in this order into one matrix of floats, for the only input of a model. A column may
    /// come more than once, with other transforms.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Transform)>) -> Self {
        Self::default().feed(None, Kind::Floats, columns)
    }

    /// Encodes these columns, in this order, as floats for the model's input of this name.
    #[must_use]
    pub fn floats<'a>(
        self,
        input: impl Into<String>,
        columns: impl IntoIterator<Item = (&'a str, Transform)>,
    ) -> Self {
        self.feed(Some(input.into()), Kind::Floats, columns)
    }

    /// Encodes these columns, in this order, as whole numbers for the model's input of this name: the rows of
    /// embedding tables. Each column counts by itself, from 0, but weekdays, days and months as people count them,
    /// from 1: their tables have a row 0 that nothing reads. A missing cell has an index of its own:
    ///
    /// | transform | index | missing |
    /// |---|---|---|
    /// | [`Vocabulary`](Transform::Vocabulary) | of the category; one more for all rare or unseen ones | the next |
    /// | [`Hash`](Transform::Hash) | of the hash bucket | `buckets` |
    /// | [`Bucketise`](Transform::Bucketise) | of the bucket | the given bucket; `edges.len() + 1` for NaN |
    /// | [`DateParts`](Transform::DateParts) but the year | hour from 0; weekday, day, month from 1 | 24, 8, 32, 13 |
    /// | [`Numeric`](Transform::Numeric) without scaling | the whole number or truth value itself | the given number |
    ///
    /// How many there are for a table to hold says [`Feed::index_counts`](super::Feed::index_counts).
    #[must_use]
    pub fn indices<'a>(
        self,
        input: impl Into<String>,
        columns: impl IntoIterator<Item = (&'a str, Transform)>,
    ) -> Self {
        self.feed(Some(input.into()), Kind::Indices, columns)
    }

    /// The columns with their transforms.
    pub fn columns(&self) -> impl Iterator<Item = &(String, Transform)> {
        self.feeds.iter().flat_map(|feed| &feed.columns)
    }

    fn feed<'a>(
        mut self,
        input: Option<String>,
        kind: Kind,
        columns: impl IntoIterator<Item = (&'a str, Transform)>,
    ) -> Self {
        let columns = columns.into_iter().map(|(name, transform)| (name.to_owned(), transform)).collect();
        self.feeds.push(FeedSpec { input, kind, columns });
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.feeds.is_empty() || self.feeds.iter().any(|feed| feed.columns.is_empty()) {
            return Err(Error::invalid("an encoder needs at least one column, for each input that it names"));
        }
        if self.feeds.iter().any(|feed| feed.input.is_none() && feed.kind == Kind::Indices) {
            return Err(Error::invalid("an encoder feeds indices to an input without a name"));
        }
        check_inputs(self.feeds.iter().map(|feed| feed.input.as_deref()))
    }
}

/// Whether each input is fed once, and by its name if there are several.
pub(super) fn check_inputs<'a>(inputs: impl Iterator<Item = Option<&'a str>>) -> Result<()> {
    let inputs: Vec<Option<&str>> = inputs.collect();
    for (place, input) in inputs.iter().enumerate() {
        match input {
            None if inputs.len() > 1 => {
                return Err(Error::invalid(
                    "one matrix for the only input of a model, and more for others: name each input by \
                     `EncoderSpec::floats` or `EncoderSpec::indices`",
                ));
            }
            Some("") => return Err(Error::invalid("an encoder feeds an input without a name")),
            Some(name) if inputs[..place].contains(input) => {
                return Err(Error::invalid(format!(
                    "an encoder feeds input `{name}` twice: give all its columns at once"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

impl From<Form> for EncoderSpec {
    fn from(form: Form) -> Self {
        match form {
            Form::Matrix(columns) if columns.is_empty() => Self::default(),
            Form::Matrix(columns) => {
                Self { feeds: vec![FeedSpec { input: None, kind: Kind::Floats, columns }] }
            }
            Form::Feeds(feeds) => Self { feeds },
        }
    }
}

impl From<EncoderSpec> for Form {
    fn from(EncoderSpec { mut feeds }: EncoderSpec) -> Self {
        match &mut feeds[..] {
            [] => Self::Matrix(Vec::new()),
            [FeedSpec { input: None, kind: Kind::Floats, columns }] => Self::Matrix(std::mem::take(columns)),
            _ => Self::Feeds(feeds),
        }
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
    /// The index of the category, the most frequent first; one more than the last for a rare or unseen one, -1
    /// for a missing one (as a float; for [`indices`](EncoderSpec::indices) see there).
    Vocabulary {
        /// Only this many categories get an index.
        categories_max: usize,
    },
    /// A 1 in the place that the category's hash falls on, 0 elsewhere; all 0 for a missing one. Of
    /// [`indices`](EncoderSpec::indices) the place itself.
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
