//! What is done to features before anybody reads them.

use std::collections::BTreeMap;

use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::record::{InferenceRecord, RecordSchema};
use mlops_core::{Digest, Error, Result};
use serde::{Deserialize, Serialize};

/// What is done to one feature. Missing cells stay missing.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, TableSchema};
/// use mlops_core::record::RecordSchema;
/// use mlops_serve::capture::{Capture, CaptureSettings, Redaction};
///
/// let table = TableSchema::new([
///     Column::new("email", ColumnKind::Text),
///     Column::new("postcode", ColumnKind::Text),
///     Column::new("age", ColumnKind::Float),
/// ])?;
/// let settings = CaptureSettings::default()
///     .redact("email", Redaction::Hash { salt: "a long secret of the host".into() })
///     .redact("postcode", Redaction::Truncate { chars: 2 })
///     .redact("age", Redaction::Round { step: 10.0 });
/// let capture = Capture::new(RecordSchema::new(&table, ["score"])?, settings)?;
/// # Ok::<(), mlops_serve::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Redaction {
    /// The column is left out.
    Drop,
    /// The value is replaced by the first 128 bits of the SHA-256 of salt and value, as text: equal values
    /// stay equal. Whoever knows the salt can try values out; keep it secret.
    Hash {
        /// Keeps others from trying values out.
        salt: String,
    },
    /// Texts are cut after so many characters.
    Truncate {
        /// The characters that stay.
        chars: usize,
    },
    /// Numbers and times (in microseconds) are rounded to the nearest multiple.
    Round {
        /// The multiple, above 0.
        step: f64,
    },
}

/// The redactions of a schema, column by column.
#[derive(Debug)]
pub(super) struct Privacy {
    columns: Vec<Option<Redaction>>,
    candidates: Option<Redaction>,
    /// Nothing is redacted.
    idle: bool,
}

impl Privacy {
    /// The redactions, and the schema of what is left.
    pub(super) fn new(
        schema: RecordSchema,
        mut redactions: BTreeMap<String, Redaction>,
        candidates: Option<Redaction>,
    ) -> Result<(Self, RecordSchema)> {
        if let Some(Redaction::Round { step }) = candidates {
            return Err(Error::invalid(format!("candidates are rounded to {step}: they are texts")));
        }
        let idle = redactions.is_empty() && candidates.is_none();
        let mut columns = Vec::new();
        let mut left: Vec<Column> = Vec::new();
        for column in schema.features() {
            let redaction = redactions.remove(&column.name);
            left.extend(redacted(column, redaction.as_ref())?);
            columns.push(redaction);
        }
        if let Some((name, _)) = redactions.first_key_value() {
            let names: Vec<&str> = schema.features().iter().map(|column| column.name.as_str()).collect();
            return Err(Error::invalid(format!(
                "no feature `{name}` to redact: the features are {}",
                names.join(", ")
            )));
        }
        if idle {
            return Ok((Self { columns, candidates, idle }, schema));
        }
        if left.is_empty() {
            return Err(Error::invalid("every feature is dropped for privacy: keep at least one"));
        }
        let left = RecordSchema::new(&TableSchema::new(left)?, schema.outputs().iter().cloned())?;
        Ok((Self { columns, candidates, idle }, left))
    }

    /// Calls `f` with the record as others may read it.
    pub(super) fn apply<T>(
        &self,
        record: &InferenceRecord<'_>,
        f: impl FnOnce(&InferenceRecord<'_>) -> Result<T>,
    ) -> Result<T> {
        if self.idle {
            return f(record);
        }
        if record.features.len() != self.columns.len() {
            let (got, want) = (record.features.len(), self.columns.len());
            return Err(Error::invalid(format!(
                "record {} has {got} features, its schema has {want}",
                record.id
            )));
        }
        let hashes: Vec<String> = self.columns.iter().zip(record.features).map(hash).collect();
        let mut features = Vec::with_capacity(self.columns.len());
        for ((redaction, value), hash) in self.columns.iter().zip(record.features).zip(&hashes) {
            features.push(match (redaction, *value) {
                (Some(Redaction::Drop), _) => continue,
                (None, value) | (Some(_), value @ Value::Missing) => value,
                (Some(Redaction::Hash { .. }), _) => Value::Text(hash),
                (Some(Redaction::Truncate { chars }), Value::Text(text)) => {
                    Value::Text(truncated(text, *chars))
                }
                (Some(Redaction::Round { step }), Value::Float(value)) => {
                    Value::Float((value / step).round() * step)
                }
                (Some(Redaction::Round { step }), Value::Integer(value)) => {
                    Value::Integer(((value as f64 / step).round() * step) as i64)
                }
                // Of a kind that the column does not hold: nothing of it is written.
                (Some(_), _) => {
                    let id = record.id;
                    return Err(Error::invalid(format!(
                        "record {id} has a feature of a kind that cannot be redacted"
                    )));
                }
            });
        }
        let texts = record.candidates.iter().map(|candidate| Value::Text(candidate));
        let hashes: Vec<String> = texts.map(|text| hash((&self.candidates, &text))).collect();
        let candidates: Vec<&str> = match &self.candidates {
            Some(Redaction::Drop) => Vec::new(),
            Some(Redaction::Hash { .. }) => hashes.iter().map(String::as_str).collect(),
            Some(Redaction::Truncate { chars }) => {
                record.candidates.iter().map(|name| truncated(name, *chars)).collect()
            }
            _ => record.candidates.to_vec(),
        };
        f(&InferenceRecord { features: &features, candidates: &candidates, ..*record })
    }
}

fn truncated(text: &str, chars: usize) -> &str {
    let end = text.char_indices().nth(chars).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

/// The column as it is afterwards; `None` if it is dropped.
fn redacted(column: &Column, redaction: Option<&Redaction>) -> Result<Option<Column>> {
    let Column { name, kind, .. } = column;
    let fits = match redaction {
        None => return Ok(Some(column.clone())),
        Some(Redaction::Drop) => return Ok(None),
        Some(Redaction::Hash { .. }) => return Ok(Some(Column::new(name.clone(), ColumnKind::Text))),
        Some(Redaction::Truncate { .. }) => *kind == ColumnKind::Text,
        Some(Redaction::Round { step }) => {
            if !(step.is_finite() && *step > 0.0) {
                return Err(Error::invalid(format!(
                    "feature `{name}` is rounded to {step}: want a number above 0"
                )));
            }
            matches!(kind, ColumnKind::Float | ColumnKind::Integer | ColumnKind::Timestamp)
        }
    };
    if fits {
        return Ok(Some(column.clone()));
    }
    Err(Error::invalid(format!("feature `{name}` is {kind}: texts are truncated, numbers and times rounded")))
}

fn hash((redaction, value): (&Option<Redaction>, &Value<'_>)) -> String {
    match (redaction, value) {
        (Some(Redaction::Hash { salt }), value) if !value.is_missing() => {
            let mut text = match value {
                Value::Text(text) => Digest::of(format!("{salt}{text}")),
                other => Digest::of(format!("{salt}{other}")),
            }
            .to_string();
            text.truncate(32);
            text
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use mlops_core::{RequestId, Timestamp};

    use super::*;

    fn schema() -> RecordSchema {
        let table = TableSchema::new([
            Column::new("email", ColumnKind::Text),
            Column::new("city", ColumnKind::Text),
            Column::new("age", ColumnKind::Float),
            Column::new("time", ColumnKind::Timestamp),
            Column::new("left", ColumnKind::Integer),
            Column::new("secret", ColumnKind::Text),
        ]);
        RecordSchema::new(&table.unwrap(), ["score"]).unwrap()
    }

    fn redactions() -> BTreeMap<String, Redaction> {
        let pairs = [
            ("email", Redaction::Hash { salt: "s".into() }),
            ("city", Redaction::Truncate { chars: 2 }),
            ("age", Redaction::Round { step: 10.0 }),
            ("time", Redaction::Round { step: 1e6 }),
            ("secret", Redaction::Drop),
        ];
        pairs.into_iter().map(|(name, redaction)| (name.to_owned(), redaction)).collect()
    }

    #[test]
    fn nothing_gets_out_that_should_not() {
        let (privacy, left) =
            Privacy::new(schema(), redactions(), Some(Redaction::Truncate { chars: 1 })).unwrap();
        let names: Vec<&str> = left.features().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["email", "city", "age", "time", "left"]);
        let apply = |features: &[Value<'_>]| {
            let record = InferenceRecord {
                id: RequestId::from_u128(1),
                time: Timestamp::EPOCH,
                model: "shop",
                version: 1,
                arm: "champion",
                propensity: 1.0,
                fallback: false,
                decision: None,
                latency_us: 1.0,
                candidates: &["Öl", ""],
                features,
                outputs: &[0.5],
            };
            privacy.apply(&record, |record| {
                assert_eq!(record.candidates, ["Ö", ""]);
                Ok(format!("{:?}", record.features))
            })
        };
        let (email, city, secret) = (Value::Text("a@b.c"), Value::Text("Öå-land"), Value::Text("no"));
        let row = [email, city, Value::Float(37.0), Value::Integer(1_700_000), Value::Integer(3), secret];
        // printf 'sa@b.c' | sha256sum
        assert_eq!(
            apply(&row).unwrap(),
            r#"[Text("f49190c156c96778ee00b1b8162dd363"), Text("Öå"), Float(40.0), Integer(2000000), Integer(3)]"#
        );
        assert_eq!(apply(&[Value::Missing; 6]).unwrap(), "[Missing, Missing, Missing, Missing, Missing]");
        assert!(apply(&row[1..]).is_err());
        let mut odd = row;
        odd[1] = Value::Float(1.0);
        assert!(apply(&odd).is_err());
    }

    #[test]
    fn redactions_that_do_not_fit_are_refused() {
        let refused = |name: &str, redaction: Redaction| {
            let redactions = BTreeMap::from([(name.to_owned(), redaction)]);
            Privacy::new(schema(), redactions, None).unwrap_err().to_string()
        };
        assert!(refused("mail", Redaction::Drop).contains("no feature `mail`"));
        assert!(refused("age", Redaction::Truncate { chars: 1 }).contains("`age` is float"));
        assert!(refused("city", Redaction::Round { step: 1.0 }).contains("`city` is text"));
        assert!(refused("age", Redaction::Round { step: 0.0 }).contains("rounded to 0"));
        let round = Privacy::new(schema(), BTreeMap::new(), Some(Redaction::Round { step: 1.0 }));
        assert!(round.unwrap_err().to_string().contains("they are texts"));
    }
}
