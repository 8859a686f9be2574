//! JSON lines as SageMaker's data capture writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use mlops_core::data::ColumnKind;
use mlops_core::{Error, RequestId, Result, Timestamp};
use serde_json::json;

use super::RecordSink;

/// Writes `<folder>/<endpoint>/<arm>/<yyyy>/<mm>/<dd>/<hh>/<uuid>.jsonl`, one JSON object a line, for tools
/// that read what SageMaker's data capture writes. In the name of the arm's folder, what is no ASCII letter,
/// digit, `_` or `-` becomes `%` and two hexadecimal digits; times beyond the year 9999 share the folder
/// `undated`. Features and outputs are CSV, in the order of the schema;
/// the request id is the inference id; version, propensity, latency, whether it is a fall-back and the decision, if there is one, are custom attributes.
///
/// Each batch makes one file for each arm and hour, which appears whole or not at all. Offering the same
/// batch twice writes the same files.
#[derive(Debug)]
pub struct SageMakerSink {
    folder: PathBuf,
}

impl SageMakerSink {
    /// A sink that writes below `folder`, under the name of an endpoint.
    ///
    /// # Errors
    /// `Invalid` if the name is no plain file name.
    pub fn new(folder: impl Into<PathBuf>, endpoint: &str) -> Result<Self> {
        if !is_plain(endpoint) {
            return Err(Error::invalid(format!("endpoint `{endpoint}` is no plain name for a folder")));
        }
        Ok(Self { folder: folder.into().join(endpoint) })
    }
}

impl RecordSink for SageMakerSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        let columns = Columns::new(batch)?;
        for row in 0..batch.num_rows() {
            let path = self.folder.join(columns.folder(row));
            let lines = files.entry(path).or_default();
            lines.push_str(&columns.line(row).to_string());
            lines.push('\n');
        }
        for (folder, lines) in files {
            let name = uuid(RequestId::from_key(&lines));
            let (path, tmp) = (folder.join(format!("{name}.jsonl")), folder.join(format!("{name}.tmp")));
            fs::create_dir_all(&folder).map_err(|error| unavailable(&folder, error))?;
            fs::write(&tmp, lines).map_err(|error| unavailable(&tmp, error))?;
            fs::rename(&tmp, &path).map_err(|error| unavailable(&path, error))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The columns that the lines are made of.
struct Columns<'a> {
    batch: &'a RecordBatch,
    features: Vec<&'a dyn Array>,
    outputs: Vec<&'a dyn Array>,
}

impl<'a> Columns<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self> {
        let with = |prefix: &str| -> Vec<&'a dyn Array> {
            let fields = batch.schema_ref().fields().iter().zip(batch.columns());
            fields.filter(|(field, _)| field.name().starts_with(prefix)).map(|(_, array)| &**array).collect()
        };
        let fixed = [
            ("request_id", DataType::FixedSizeBinary(16)),
            ("time", ColumnKind::Timestamp.data_type()),
            ("arm", DataType::Utf8),
            ("version", DataType::UInt64),
            ("propensity", DataType::Float64),
            ("latency_us", DataType::Float64),
        ];
        for (name, kind) in fixed {
            let found = batch.column_by_name(name).map(Array::data_type);
            if found != Some(&kind) {
                return Err(Error::invalid(format!(
                    "the batch has no column `{name}` of {kind}: want captured records"
                )));
            }
        }
        Ok(Self { batch, features: with("feature."), outputs: with("output.") })
    }

    /// The checks of [`new`](Self::new) make sure that it is there.
    fn column(&self, name: &str) -> &'a dyn Array {
        &*self.batch[name]
    }

    /// Batches from before there was such a column have none.
    fn fallback(&self, row: usize) -> bool {
        self.batch
            .column_by_name("fallback")
            .and_then(|column| column.as_boolean_opt())
            .is_some_and(|cells| cells.value(row))
    }

    /// None if the version has no threshold, or in a batch from before there was such a column.
    fn decision(&self, row: usize) -> Option<bool> {
        let cells = self.batch.column_by_name("decision")?.as_boolean_opt()?;
        cells.is_valid(row).then(|| cells.value(row))
    }

    fn time(&self, row: usize) -> String {
        Timestamp::from_micros(self.column("time").as_primitive::<TimestampMicrosecondType>().value(row))
            .to_string()
    }

    fn folder(&self, row: usize) -> PathBuf {
        let arm = escaped(self.column("arm").as_string::<i32>().value(row));
        let time = self.time(row);
        let part = |range| time.get(range).filter(|part: &&str| part.bytes().all(|c| c.is_ascii_digit()));
        match (part(0..4), part(5..7), part(8..10), part(11..13)) {
            (Some(year), Some(month), Some(day), Some(hour)) => {
                [&arm, year, month, day, hour].iter().collect()
            }
            _ => [&arm, "undated"].iter().collect(),
        }
    }

    fn line(&self, row: usize) -> serde_json::Value {
        let id = self.column("request_id").as_fixed_size_binary().value(row);
        let id = RequestId::from_u128(id.iter().fold(0, |id, byte| id << 8 | u128::from(*byte)));
        let part = |mode: &str, columns: &[&dyn Array]| json!({"observedContentType": "text/csv", "mode": mode, "data": csv(columns, row), "encoding": "CSV"});
        let number = |name| self.column(name).as_primitive::<Float64Type>().value(row);
        let mut attributes = vec![
            format!("version={}", self.column("version").as_primitive::<UInt64Type>().value(row)),
            format!("propensity={}", number("propensity")),
            format!("latency_us={}", number("latency_us")),
            format!("fallback={}", self.fallback(row)),
        ];
        attributes.extend(self.decision(row).map(|decision| format!("decision={decision}")));
        json!({
            "captureData": {
                "endpointInput": part("INPUT", &self.features),
                "endpointOutput": part("OUTPUT", &self.outputs),
            },
            "eventMetadata": {
                "eventId": uuid(id),
                "inferenceId": id.to_string(),
                "customAttributes": attributes,
                "inferenceTime": self.time(row),
            },
            "eventVersion": "0",
        })
    }
}

/// One line of CSV (RFC 4180): missing cells are empty.
fn csv(columns: &[&dyn Array], row: usize) -> String {
    let mut line = String::new();
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        if column.is_null(row) {
            continue;
        }
        // Writing to a string does not fail.
        let _ = match column.data_type() {
            DataType::Float64 => write!(line, "{}", column.as_primitive::<Float64Type>().value(row)),
            DataType::Int64 => write!(line, "{}", column.as_primitive::<Int64Type>().value(row)),
            DataType::Boolean => write!(line, "{}", column.as_boolean().value(row)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                write!(line, "{}", Timestamp::from_micros(micros))
            }
            DataType::Utf8 => match column.as_string::<i32>().value(row) {
                text if text.contains([',', '"', '\n', '\r']) => {
                    write!(line, "\"{}\"", text.replace('"', "\"\""))
                }
                text => write!(line, "{text}"),
            },
            // Captured records hold the five kinds above alone.
            _ => Ok(()),
        };
    }
    line
}

/// The id in the form of a UUID.
fn uuid(id: RequestId) -> String {
    let text = id.to_string();
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// The name of a folder, other for other arms, which stays below its parent.
fn escaped(arm: &str) -> String {
    let mut name = String::with_capacity(arm.len());
    for byte in arm.bytes() {
        match byte {
            b'_' | b'-' => name.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.is_empty() { "%".into() } else { name }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
}

fn unavailable(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("cannot write `{}`", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use mlops_core::data::{Column, TableSchema, Value};
    use mlops_core::record::{InferenceLog, InferenceRecord, RecordSchema};

    use super::*;

    fn batch(arm: &str) -> RecordBatch {
        let table = TableSchema::new([
            Column::new("x", ColumnKind::Float),
            Column::new("n", ColumnKind::Integer),
            Column::new("yes", ColumnKind::Boolean),
            Column::new("visitor", ColumnKind::Text),
            Column::new("when", ColumnKind::Timestamp),
        ]);
        let mut log = InferenceLog::new(RecordSchema::new(&table.unwrap(), ["score"]).unwrap());
        for (row, hour) in [8, 8, 9].into_iter().enumerate() {
            log.push(&InferenceRecord {
                id: RequestId::from_u128(row as u128 + 1),
                time: format!("2026-02-01T{hour:02}:30:00Z").parse().unwrap(),
                model: "shop",
                version: 3,
                arm,
                propensity: 0.5,
                fallback: false,
                decision: Some(true),
                latency_us: 12.5,
                candidates: &[],
                features: &[
                    Value::Float(1.5),
                    Value::Missing,
                    Value::Boolean(true),
                    Value::Text("new, \"very\""),
                    Value::Integer(0),
                ],
                outputs: &[0.25],
            })
            .unwrap();
        }
        log.finish().unwrap()
    }

    #[test]
    fn lines_and_folders_are_those_of_data_capture() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = SageMakerSink::new(folder.path(), "shop").unwrap();
        sink.write(&batch("champion")).unwrap();
        sink.write(&batch("champion")).unwrap();
        let hour = folder.path().join("shop/champion/2026/02/01/08");
        let files: Vec<_> = fs::read_dir(&hour).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "the same batch makes the same file");
        let text = fs::read_to_string(&files[0]).unwrap();
        assert_eq!(text.lines().count(), 2);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let want = json!({
            "captureData": {
                "endpointInput": {
                    "observedContentType": "text/csv",
                    "mode": "INPUT",
                    "data": "1.5,,true,\"new, \"\"very\"\"\",1970-01-01T00:00:00Z",
                    "encoding": "CSV",
                },
                "endpointOutput": {
                    "observedContentType": "text/csv", "mode": "OUTPUT", "data": "0.25", "encoding": "CSV",
                },
            },
            "eventMetadata": {
                "eventId": "00000000-0000-0000-0000-000000000001",
                "inferenceId": "00000000000000000000000000000001",
                "customAttributes": ["version=3", "propensity=0.5", "latency_us=12.5", "fallback=false", "decision=true"],
                "inferenceTime": "2026-02-01T08:30:00Z",
            },
            "eventVersion": "0",
        });
        assert_eq!(line, want);
        // A batch from before there was a column of fall-backs.
        let batch = batch("champion");
        let places: Vec<usize> = (0..batch.num_columns())
            .filter(|place| batch.schema().field(*place).name() != "fallback")
            .collect();
        sink.write(&batch.project(&places).unwrap()).unwrap();
        assert_eq!(fs::read_dir(&hour).unwrap().count(), 1, "the same lines");
        assert!(folder.path().join("shop/champion/2026/02/01/09").is_dir());
    }

    #[test]
    fn names_that_leave_the_folder_and_other_tables_are_refused() {
        assert!(SageMakerSink::new(".", "../x").is_err());
        let folder = tempfile::tempdir().unwrap();
        let mut sink = SageMakerSink::new(folder.path(), "shop").unwrap();
        sink.write(&batch("..")).unwrap();
        sink.write(&batch("model v2")).unwrap();
        let mut arms: Vec<_> = fs::read_dir(folder.path().join("shop"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        arms.sort_unstable();
        assert_eq!(arms, ["%2E%2E", "model%20v2"]);
        let other = batch("champion").project(&[0, 1]).unwrap();
        assert!(sink.write(&other).unwrap_err().to_string().contains("no column `arm`"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
