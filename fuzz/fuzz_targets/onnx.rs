//! What is read as ONNX is written and read again as the same; constants in other files are taken in or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_core::onnx;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = onnx::read(&data.to_vec().into()) else { return };
    let _ = onnx::signature(&model);
    let bytes = onnx::write(&model);
    // NaN differs from itself: the bytes are compared.
    let again = onnx::read(&bytes).expect("what was written is read");
    assert_eq!(onnx::write(&again), bytes);
    let mut whole = again;
    if whole.take_in(&mut |name| Ok(name.repeat(3).into())).is_ok() {
        assert!(whole.external_files().is_empty());
    }
});
