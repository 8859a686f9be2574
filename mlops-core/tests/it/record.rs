//! Records and labels: what goes in comes out, late labels join as of any time, what does not fit leaves no trace.

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use mlops_core::data::{Column, ColumnKind, Role, TableSchema, Value};
use mlops_core::record::{
    InferenceLog, InferenceRecord, Label, LabelStore, RecordSchema, SHADOW_ARM, labelled_rows,
};
use mlops_core::{ErrorKind, RequestId, Timestamp};

fn table() -> TableSchema {
    TableSchema::new([
        Column::new("rate", ColumnKind::Float),
        Column::new("clicks", ColumnKind::Integer),
        Column::new("new", ColumnKind::Boolean),
        Column::new("page", ColumnKind::Text),
        Column::new("seen", ColumnKind::Timestamp),
        Column::new("bought", ColumnKind::Boolean).role(Role::Label).required(),
    ])
    .unwrap()
}

const FEATURES: [Value<'_>; 5] = [
    Value::Float(0.5),
    Value::Integer(3),
    Value::Boolean(true),
    Value::Text("home"),
    Value::Integer(1_700_000_000_000_000),
];

fn record<'a>(id: u128, features: &'a [Value<'a>], outputs: &'a [f64]) -> InferenceRecord<'a> {
    InferenceRecord {
        id: RequestId::from_u128(id),
        time: Timestamp::from_micros(7),
        model: "shop",
        version: 3,
        arm: "champion",
        propensity: 0.9,
        fallback: id == 2,
        decision: (id != 2).then_some(id > 2),
        latency_us: 2.5,
        candidates: &["a", "b"],
        features,
        outputs,
    }
}

fn log() -> InferenceLog {
    InferenceLog::new(RecordSchema::new(&table(), ["probability", "margin"]).unwrap())
}

/// The records of these requests.
fn batch(ids: &[u128]) -> RecordBatch {
    let mut log = log();
    ids.iter().for_each(|id| log.push(&record(*id, &FEATURES, &[0.7, -1.0])).unwrap());
    log.finish().unwrap()
}

fn label(id: u128, time: i64, value: f64) -> Label {
    Label { id: RequestId::from_u128(id), time: Timestamp::from_micros(time), value }
}

/// The labels of a joined batch, `None` where there is none.
fn labels(batch: &RecordBatch) -> Vec<Option<f64>> {
    batch.column_by_name("label").unwrap().as_primitive::<Float64Type>().iter().collect()
}

fn known_at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

#[test]
fn every_field_is_written_as_it_was() {
    let mut log = log();
    log.push(&record(1 << 100, &FEATURES, &[0.7, f64::NAN])).unwrap();
    log.push(&InferenceRecord { candidates: &[], ..record(2, &[Value::Missing; 5], &[0.1, 2.0]) }).unwrap();
    assert_eq!(log.len(), 2);
    let batch = log.finish().unwrap();
    assert!(log.is_empty());
    let column = |name: &str| batch.column_by_name(name).unwrap();
    assert_eq!(column("request_id").as_fixed_size_binary().value(0), (1_u128 << 100).to_be_bytes());
    assert_eq!(column("model").as_string::<i32>().value(1), "shop");
    assert_eq!(column("propensity").as_primitive::<Float64Type>().values(), &[0.9, 0.9]);
    let fallback = column("fallback").as_boolean();
    assert_eq!((fallback.value(0), fallback.value(1)), (false, true));
    let decisions: Vec<Option<bool>> = column("decision").as_boolean().iter().collect();
    assert_eq!(decisions, [Some(true), None]);
    let candidates = column("candidates").as_list::<i32>();
    assert_eq!((candidates.value(0).len(), candidates.value(1).len()), (2, 0));
    for (name, value) in ["rate", "clicks", "new", "page", "seen"].into_iter().zip(FEATURES) {
        let cells = column(&format!("feature.{name}"));
        let cells = mlops_core::data::Cells::new(cells.as_ref()).unwrap();
        assert_eq!((cells.value(0), cells.value(1)), (value, Value::Missing), "{name}");
    }
    assert!(column("output.margin").as_primitive::<Float64Type>().value(0).is_nan());
    assert_eq!(column("output.probability").as_primitive::<Float64Type>().value(1), 0.1);
}

#[test]
fn names_of_outputs_are_unique_and_not_empty() {
    for (outputs, says) in [
        (vec!["score", "margin", "score"], "two outputs of the records are called `score`: rename one"),
        (vec!["score", ""], "output 1 of the records has no name"),
    ] {
        let error = RecordSchema::new(&table(), outputs).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, says));
    }
    assert_eq!(RecordSchema::new(&table(), Vec::<String>::new()).unwrap().outputs(), [""; 0]);
}

#[test]
fn a_refused_record_leaves_the_log_as_it_was() {
    let mut log = log();
    log.push(&record(1, &FEATURES, &[0.7, 0.0])).unwrap();
    let mut wrong = FEATURES;
    wrong[3] = Value::Integer(1);
    let good = record(2, &FEATURES, &[0.7, 0.0]);
    for (bad, message) in [
        (record(2, &FEATURES[..4], &[0.7, 0.0]), "has 4 features, its schema has 5"),
        (record(2, &FEATURES, &[0.7]), "has 1 outputs, its schema has 2"),
        (record(2, &wrong, &[0.7, 0.0]), "has 1 for feature `page`, which is text"),
        (InferenceRecord { propensity: 0.0, ..good }, "has propensity 0"),
        (InferenceRecord { propensity: 1.1, ..good }, "has propensity 1.1"),
        (InferenceRecord { propensity: f64::NAN, ..good }, "has propensity NaN"),
    ] {
        let error = log.push(&bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(log.len(), 1);
    }
    log.push(&good).unwrap();
    let mut untouched = self::log();
    untouched.push(&record(1, &FEATURES, &[0.7, 0.0])).unwrap();
    untouched.push(&good).unwrap();
    assert_eq!(log.finish().unwrap(), untouched.finish().unwrap());
}

#[test]
fn labels_join_as_of_a_time_and_again_as_of_a_later_one() {
    let mut store = LabelStore::default();
    assert!(store.is_empty());
    // A correction that comes in before what it corrects; two at one time, of which the last one counts.
    for label in [label(1, 20, 0.0), label(1, 10, 1.0), label(2, 30, 5.0), label(2, 30, 6.0)] {
        store.insert(label).unwrap();
    }
    assert_eq!(store.len(), 2);
    let records = batch(&[1, 2, 3, 1]);
    let joined = |records: &RecordBatch, at| store.join(records, known_at(at)).unwrap();
    assert_eq!(labels(&joined(&records, 9)), [None; 4]);
    let early = joined(&records, 10);
    assert_eq!(labels(&early), [Some(1.0), None, None, Some(1.0)]);
    let late = joined(&early, 30);
    assert_eq!(labels(&late), [Some(0.0), Some(6.0), None, Some(0.0)]);
    assert_eq!(late, joined(&records, 30), "a second join takes the place of the first");
    assert_eq!(labels(&joined(&late, 10)), labels(&early), "and goes back too");
    for value in [f64::NAN, f64::INFINITY] {
        assert_eq!(store.insert(label(9, 1, value)).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(store.len(), 2, "a refused label is no label");
}

#[test]
fn a_missing_id_has_no_label_and_records_without_ids_are_refused() {
    use arrow_array::builder::FixedSizeBinaryBuilder;
    let mut store = LabelStore::default();
    store.insert(label(0, 1, 1.0)).unwrap();
    let mut ids = FixedSizeBinaryBuilder::new(16);
    ids.append_null();
    ids.append_value([0; 16]).unwrap();
    let ids = std::sync::Arc::new(ids.finish()) as arrow_array::ArrayRef;
    let records = RecordBatch::try_from_iter_with_nullable([("request_id", ids, true)]).unwrap();
    assert_eq!(labels(&store.join(&records, known_at(1)).unwrap()), [None, Some(1.0)]);
    let error = store.join(&records.project(&[]).unwrap(), known_at(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let texts = std::sync::Arc::new(arrow_array::StringArray::from(vec!["1"])) as arrow_array::ArrayRef;
    let texts = RecordBatch::try_from_iter([("request_id", texts)]).unwrap();
    assert!(store.join(&texts, known_at(1)).unwrap_err().to_string().contains("of 16 bytes"));
}

#[test]
fn labelled_records_are_training_rows() {
    let mut store = LabelStore::default();
    [label(1, 1, 1.0), label(3, 1, 0.0)].into_iter().for_each(|label| store.insert(label).unwrap());
    let joined = |ids: &[u128]| store.join(&batch(ids), known_at(1)).unwrap();
    let rows = labelled_rows(&[joined(&[1, 2]), joined(&[2]), joined(&[3])], table()).unwrap();
    assert_eq!(rows.numbers("bought").unwrap(), [1.0, 0.0], "a record without a label is no row");
    let mut log = log();
    log.push(&record(1, &FEATURES, &[0.7, -1.0])).unwrap();
    log.push(&InferenceRecord { arm: SHADOW_ARM, ..record(1, &FEATURES, &[0.2, -1.0]) }).unwrap();
    let both = store.join(&log.finish().unwrap(), known_at(1)).unwrap();
    let heard = labelled_rows(&[both], table()).unwrap();
    assert_eq!(heard.numbers("bought").unwrap(), [1.0], "a shadow asks the same request again");
    assert_eq!(rows.schema().columns(), table().columns());
    rows.for_each_row(|_, row| {
        assert_eq!(row[..5], FEATURES);
        Ok(())
    })
    .unwrap();

    let kind = |records: &RecordBatch, schema: TableSchema| {
        labelled_rows(std::slice::from_ref(records), schema).unwrap_err().kind()
    };
    assert_eq!(kind(&batch(&[1]), table()), ErrorKind::Data, "not joined yet");
    let twice: Vec<usize> = (0..batch(&[1]).num_columns()).chain([0, 10]).collect();
    let error = store.join(&batch(&[1]).project(&twice).unwrap(), known_at(1)).unwrap_err();
    assert_eq!(error.to_string(), "the data has two columns `request_id`: rename one");
    assert_eq!(
        kind(&joined(&[1]).project(&twice).unwrap(), table()),
        ErrorKind::Data,
        "a feature comes twice"
    );
    let without = joined(&[1]);
    let kept: Vec<usize> = (0..without.num_columns())
        .filter(|place| without.schema().field(*place).name() != "feature.page")
        .collect();
    assert_eq!(kind(&without.project(&kept).unwrap(), table()), ErrorKind::Data, "a feature is missing");
    let mut corrected = store.clone();
    corrected.insert(label(1, 2, 0.3)).unwrap();
    let fraction = corrected.join(&batch(&[1]), known_at(2)).unwrap();
    assert_eq!(kind(&fraction, table()), ErrorKind::Data, "0.3 is no truth value");
    let mut columns = table().columns().to_vec();
    columns.push(Column::new("user", ColumnKind::Text).role(Role::Id));
    assert_eq!(kind(&joined(&[1]), TableSchema::new(columns).unwrap()), ErrorKind::Invalid);
    let no_label = TableSchema::new([Column::new("page", ColumnKind::Text)]).unwrap();
    assert_eq!(kind(&joined(&[1]), no_label), ErrorKind::Invalid);
}

#[cfg(feature = "parquet")]
#[test]
fn records_survive_parquet() {
    use std::sync::Arc;

    use arrow_array::UInt64Array;
    use mlops_core::record::read_parquet;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.parquet");
    let write = |records: &RecordBatch| {
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, records.schema(), None).unwrap();
        writer.write(records).unwrap();
        writer.close().unwrap();
    };
    let records = batch(&[1, 2, 3]);
    write(&records);
    let read = read_parquet(&path).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].columns(), records.columns());
    let mut store = LabelStore::default();
    store.insert(label(2, 1, 1.0)).unwrap();
    assert_eq!(labels(&store.join(&read[0], known_at(1)).unwrap()), [None, Some(1.0), None]);

    let place = records.schema().index_of("fallback").unwrap();
    let before: Vec<usize> = (0..records.num_columns()).filter(|column| *column != place).collect();
    write(&records.project(&before).unwrap());
    let old = read_parquet(&path).unwrap().remove(0);
    assert_eq!(old.schema().fields(), read[0].schema().fields(), "old files go together with new ones");
    assert_eq!(old.column(place).as_boolean().true_count(), 0);
    // A default score was always a fall-back.
    let mut columns = records.columns().to_vec();
    columns[records.schema().index_of("version").unwrap()] = Arc::new(UInt64Array::from(vec![3, 0, 1]));
    let with_default = RecordBatch::try_new(records.schema(), columns).unwrap();
    write(&with_default.project(&before).unwrap());
    let old = read_parquet(&path).unwrap().remove(0);
    let known: Vec<_> = old.column(place).as_boolean().iter().flatten().collect();
    assert_eq!(known, [false, true, false]);
    let place = records.schema().index_of("decision").unwrap();
    for without in [&["decision"][..], &["decision", "fallback"]] {
        let kept = |column: &usize| !without.contains(&records.schema().field(*column).name().as_str());
        let before: Vec<usize> = (0..records.num_columns()).filter(kept).collect();
        write(&records.project(&before).unwrap());
        let old = read_parquet(&path).unwrap().remove(0);
        assert_eq!(old.schema().fields(), read[0].schema().fields(), "{without:?}");
        assert_eq!(old.column(place).null_count(), old.num_rows());
    }

    write(&records.project(&[1, 2]).unwrap());
    assert!(read_parquet(&path).unwrap_err().to_string().contains("no column `request_id`"));
    std::fs::write(&path, b"PAR1 and nothing more").unwrap();
    assert_eq!(read_parquet(&path).unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(read_parquet(folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
}
