//! Any bytes as a model file: its format, its external data, its name.
#![no_main]

use std::io::Cursor;

use mlops_registry::{Format, name, onnx};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    Format::sniff(bytes, bytes, bytes.len() as u64);
    let _ = onnx::external_data(&mut Cursor::new(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        if name::check_file(text).is_ok() {
            assert!(!text.starts_with('/') && !text.split('/').any(|part| part == ".." || part.is_empty()));
        }
        let _ = (name::check_model(text), name::check_alias(text), text.parse::<mlops_registry::UploadId>());
    }
});
