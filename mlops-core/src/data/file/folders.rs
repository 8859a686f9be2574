//! Columns whose values are in the names of folders.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

use super::Scan;
use crate::data::TableSchema;
use crate::{Error, Result};

/// What Spark and Hive call the folder of missing values.
const MISSING: &str = "__HIVE_DEFAULT_PARTITION__";

impl Scan {
    /// The file that `open` opens with the columns it has to have, and those of the schema that the folders of its path
    /// name, such as `dt=2026-05-01`.
    pub(in crate::data) fn in_folders<'a>(
        folders: impl Iterator<Item = &'a str>,
        schema: Arc<TableSchema>,
        open: impl FnOnce(Arc<TableSchema>) -> Result<Self>,
    ) -> Result<Self> {
        let mut values: Vec<(String, Option<String>)> = Vec::new();
        for (name, value) in folders.filter_map(|folder| folder.split_once('=')) {
            let (name, value) = (decoded(name), decoded(value));
            if schema.index_of(&name).is_ok() {
                values.retain(|(outer, _)| *outer != name);
                values.push((name, (value != MISSING).then_some(value)));
            }
        }
        if values.is_empty() {
            return open(schema);
        }
        let own =
            schema.columns().iter().filter(|column| !values.iter().any(|(name, _)| *name == column.name));
        let own: Vec<_> = own.cloned().collect();
        if own.is_empty() {
            return Err(Error::invalid(
                "all columns that are asked for are in the names of folders: ask for one of the files too, which says how \
                 many rows there are",
            ));
        }
        let mut file = open(Arc::new(TableSchema::new(own)?))?;
        let name = file.name.take();
        let mut scan = Self::new(schema, file.into_raw().map(move |batch| with(&batch?, &values)));
        scan.name = name;
        Ok(scan)
    }
}

/// The batch with the values as columns of text; those of the file of the same names make way.
fn with(batch: &RecordBatch, values: &[(String, Option<String>)]) -> Result<RecordBatch> {
    let schema = batch.schema();
    let own = (0..batch.num_columns())
        .filter(|place| values.iter().all(|(name, _)| name != schema.field(*place).name()));
    let own: Vec<usize> = own.collect();
    let mut fields: Vec<_> = own.iter().map(|place| Arc::clone(&schema.fields()[*place])).collect();
    let mut arrays: Vec<ArrayRef> = own.iter().map(|place| Arc::clone(batch.column(*place))).collect();
    for (name, value) in values {
        let array = match value {
            Some(value) => StringArray::new_repeated(value, batch.num_rows()),
            None => StringArray::new_null(batch.num_rows()),
        };
        fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
        arrays.push(Arc::new(array) as Arc<dyn Array>);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// The text with `%3A` and the like as the bytes they stand for; unchanged if that is no text.
fn decoded(text: &str) -> String {
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (rest, _) = match tail {
            [high, low, after @ ..] if *first == b'%' => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (after, bytes.push(high << 4 | low)),
                _ => (tail, bytes.push(*first)),
            },
            _ => (tail, bytes.push(*first)),
        };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once_and_others_left_alone() {
        for (text, want) in [
            ("2026-05-01 12%3A30", "2026-05-01 12:30"),
            ("S%C3%A3o", "S\u{e3}o"),
            ("100%", "100%"),
            ("%zz%2", "%zz%2"),
            ("%ff", "%ff"),
            ("%2541", "%41"),
            ("", ""),
        ] {
            assert_eq!(decoded(text), want);
        }
    }
}
