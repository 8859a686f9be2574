//! Any bytes as a table file of each format: an error or rows, never a panic that leaves the crate.
#![no_main]

use std::io::Cursor;
use std::sync::Once;

use bytes::Bytes;
use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema};

static QUIET: Once = Once::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The decoders of arrow and parquet panic at some bytes, and the crate catches that: the hook, by which
    // libFuzzer would end the process, must not see those panics. Any panic that leaves the crate ends it still.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let read = || {
        let Some((format, bytes)) = data.split_first() else { return };
        let schema = TableSchema::new([
            Column::new("a", ColumnKind::Float),
            Column::new("b", ColumnKind::Text),
            Column::new("c", ColumnKind::Timestamp),
        ])
        .expect("three columns");
        let table = match format % 3 {
            0 => Dataset::from_csv(bytes, schema),
            1 => Dataset::from_parquet(Bytes::copy_from_slice(bytes), schema),
            _ => Dataset::from_ipc(Cursor::new(bytes.to_vec()), schema),
        };
        if let Ok(table) = table {
            let _ = (table.fingerprint(), table.validate());
        }
    };
    if std::panic::catch_unwind(read).is_err() {
        std::process::abort();
    }
});
