//! Any Parquet file where captured records are expected: joined with labels and made into training rows, or refused.
#![no_main]

use std::io::Write;
use std::sync::Once;

use mlops_core::Timestamp;
use mlops_core::data::{Column, ColumnKind, TableSchema};
use mlops_core::record::{LabelStore, labelled_rows, read_parquet};

static QUIET: Once = Once::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let read = || {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(data).expect("a disk");
        let Ok(records) = read_parquet(file.path()) else { return };
        let labels = LabelStore::default();
        for batch in &records {
            let _ = labels.join(batch, Timestamp::EPOCH);
        }
        let schema = TableSchema::new([Column::new("page_value", ColumnKind::Float)]).expect("a column");
        let _ = labelled_rows(&records, schema);
    };
    if std::panic::catch_unwind(read).is_err() {
        std::process::abort();
    }
});
