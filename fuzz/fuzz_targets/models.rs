//! Bytes as a model of each format: an error, or a model that answers or gives an error, in bounded time and
//! memory, never a panic. Run with `-rss_limit_mb=2048 -max_len=65536 -timeout=10`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_core::{Dimension, ElementType};
use mlops_serve::runtime::{NativeRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::TensorBuf;

/// Two rows of numbers, one of them missing where there is such a thing.
fn inputs(model: &NativeRuntime) -> Vec<TensorBuf> {
    let specs = &model.signature().inputs;
    let axis = |axis: &Dimension| match axis {
        Dimension::Fixed(length) => *length,
        Dimension::Symbol(_) => 2,
    };
    let input = |spec: &mlops_core::TensorSpec| {
        let shape: Vec<usize> = spec.shape.iter().map(axis).collect();
        let mut input = TensorBuf::new(spec.element);
        let filled = match spec.element {
            ElementType::F32 => input.reset::<f32>(&shape).map(|x| {
                x.fill(0.5);
                x.iter_mut().take(1).for_each(|x| *x = f32::NAN);
            }),
            ElementType::F64 => input.reset::<f64>(&shape).map(|x| {
                x.fill(-1.5);
                x.iter_mut().take(1).for_each(|x| *x = f64::NAN);
            }),
            ElementType::I64 => input.reset::<i64>(&shape).map(|x| x.fill(1)),
            ElementType::I32 => input.reset::<i32>(&shape).map(|x| x.fill(-1)),
            ElementType::Bool => input.reset::<bool>(&shape).map(|x| x.fill(true)),
            _ => input.reset_text(&shape, |texts| {
                (0..shape.iter().product::<usize>()).for_each(|_| texts.push("new"));
                Ok(())
            }),
        };
        filled.map(|()| input)
    };
    specs.iter().map_while(|spec| input(spec).ok()).collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((format, bytes)) = data.split_first() else { return };
    let model = match format % 3 {
        0 => NativeRuntime::from_onnx(&bytes.to_vec().into()),
        1 => NativeRuntime::from_lightgbm(&String::from_utf8_lossy(bytes)),
        _ => NativeRuntime::from_xgboost(bytes),
    };
    let Ok(model) = model else { return };
    let inputs = inputs(&model);
    let views: Vec<_> = inputs.iter().map(TensorBuf::view).collect();
    let _ = model.predict(&views);
});
