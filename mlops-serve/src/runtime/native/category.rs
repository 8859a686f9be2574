//! Texts and integers to their places in a vocabulary.

use std::collections::HashMap;

use super::plan::{Matrix, Reader};
use crate::Result;

/// Elements that are looked up in a vocabulary.
#[derive(Debug)]
pub(super) enum Category {
    /// A text input.
    Text { input: usize, places: HashMap<String, i64>, otherwise: i64 },
    /// Integers.
    Integers { x: Matrix, places: HashMap<i64, i64>, otherwise: i64 },
}

impl Category {
    pub(super) fn memory_usage(&self) -> usize {
        match self {
            // A key, a value and the table's own byte, at a load of seven eighths or less.
            Self::Text { places, .. } => {
                places.keys().map(String::len).sum::<usize>()
                    + places.capacity() * size_of::<(String, i64, u8)>()
            }
            Self::Integers { places, .. } => places.capacity() * size_of::<(i64, i64, u8)>(),
        }
    }

    pub(super) fn each(
        &self,
        reader: &Reader<'_>,
        elements: usize,
        mut found: impl FnMut(i64),
    ) -> Result<()> {
        match self {
            Self::Text { input, places, otherwise } => {
                let (view, range) = reader.input(*input, elements / reader.rows().max(1));
                let texts = view.text()?;
                for index in range {
                    let place = texts.get(index).and_then(|text| places.get(text));
                    found(place.copied().unwrap_or(*otherwise));
                }
            }
            Self::Integers { x, places, otherwise } => {
                let values = reader.integers(*x)?;
                values.iter().for_each(|value| found(places.get(value).copied().unwrap_or(*otherwise)));
            }
        }
        Ok(())
    }
}
