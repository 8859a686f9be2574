//! Bytes as a model of each format: an error or a model, in bounded time and memory, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_serve::runtime::NativeRuntime;

fuzz_target!(|data: &[u8]| {
    let Some((format, bytes)) = data.split_first() else { return };
    let model = match format % 3 {
        0 => NativeRuntime::from_onnx(&bytes.to_vec().into()),
        1 => NativeRuntime::from_lightgbm(&String::from_utf8_lossy(bytes)),
        _ => NativeRuntime::from_xgboost(bytes),
    };
    drop(model);
});
