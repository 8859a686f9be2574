//! What an encoder makes for one input of a model.

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::fitted::Fitted;
use super::spec::Kind;
use crate::data::Column;
use crate::{ElementType, Error, Result};

/// What an [`Encoder`](super::Encoder) makes for one input of a model: floats or indices, so many for each row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// `None`: the only input of the model, whatever it is called.
    pub(super) input: Option<String>,
    pub(super) kind: Kind,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) input: usize,
    pub(super) fitted: Fitted,
}

impl Feed {
    /// The input of the model; `None` if the encoder makes one matrix for the only one.
    pub fn input(&self) -> Option<&str> {
        self.input.as_deref()
    }

    /// [`F32`](ElementType::F32) for floats, [`I64`](ElementType::I64) for indices.
    pub fn element(&self) -> ElementType {
        match self.kind {
            Kind::Floats => ElementType::F32,
            Kind::Indices => ElementType::I64,
        }
    }

    /// How many of them a row becomes.
    pub fn width(&self) -> usize {
        self.steps.iter().map(|step| step.fitted.width(self.kind)).sum()
    }

    /// For each index of a row how many different ones there are, the one of a missing cell among them: the rows
    /// that its embedding table needs. `None` for whole numbers that are taken as they are, and for floats.
    pub fn index_counts(&self) -> Vec<Option<u64>> {
        match self.kind {
            Kind::Floats => vec![None; self.width()],
            Kind::Indices => self.steps.iter().flat_map(|step| step.fitted.index_counts()).collect(),
        }
    }

    /// Whether what was read can encode without a panic.
    pub(super) fn check(&self, inputs: &[Column]) -> Result<()> {
        if self.steps.is_empty() && self.input.is_some() {
            return Err(Error::data(format!("the encoder makes nothing for {}", self.target())));
        }
        self.steps.iter().try_for_each(|step| {
            let column = inputs.get(step.input).ok_or_else(|| {
                let (cell, cells) = (step.input, inputs.len());
                Error::data(format!("the encoder reads cell {cell} of rows with {cells} cells"))
            })?;
            step.fitted.check(column, self.kind)
        })
    }

    /// The input, for people.
    pub(super) fn target(&self) -> String {
        self.input.as_ref().map_or("the model's only input".into(), |input| format!("input `{input}`"))
    }
}

/// Encoded rows for one input of a model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Encoded {
    /// Floats, a row of the matrix for each row.
    Floats(Array2<f32>),
    /// Indices, a row of the matrix for each row.
    Indices(Array2<i64>),
}

impl Encoded {
    pub(super) fn zeros(feed: &Feed, rows: usize) -> Self {
        let shape = (rows, feed.width());
        match feed.kind {
            Kind::Floats => Self::Floats(Array2::zeros(shape)),
            Kind::Indices => Self::Indices(Array2::zeros(shape)),
        }
    }

    /// More rows of the same feed.
    pub(super) fn append(&mut self, rows: &Self) -> Result<()> {
        let appended = match (self, rows) {
            (Self::Floats(all), Self::Floats(rows)) => all.append(Axis(0), rows.view()),
            (Self::Indices(all), Self::Indices(rows)) => all.append(Axis(0), rows.view()),
            _ => return Err(Error::internal("encoded batches differ in kind")),
        };
        appended.map_err(|error| Error::internal("encoded batches differ in width").with_source(error))
    }
}
