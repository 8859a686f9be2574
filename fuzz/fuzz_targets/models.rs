//! Bytes as a model of each format: an error, or a model that answers or gives an error, in bounded time and
//! memory, never a panic; and a row is answered alone as among others. Run with
//! `-rss_limit_mb=2048 -max_len=65536 -timeout=10`, and `testdata/serve` behind a byte of the format as seeds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_core::{Dimension, ElementType, TensorSpec};
use mlops_serve::runtime::{NativeRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::{TensorBuf, TensorData, TensorView};

/// Numbers that take different ways: missing, infinite, whole, broken, of either sign.
fn number(place: usize) -> f64 {
    const NUMBERS: [f64; 8] = [0.5, f64::NAN, -1.5, 1e30, 0.0, 3.0, f64::NEG_INFINITY, -0.25];
    NUMBERS[(place * 7 + place / 8) % NUMBERS.len()]
}

fn inputs(specs: &[TensorSpec], rows: usize) -> Option<Vec<TensorBuf>> {
    let axis = |axis: &Dimension| match axis {
        Dimension::Fixed(length) => *length,
        Dimension::Symbol(_) => rows,
    };
    let input = |spec: &TensorSpec| {
        let shape: Vec<usize> = spec.shape.iter().map(axis).collect();
        let mut input = TensorBuf::new(spec.element);
        let filled = match spec.element {
            ElementType::F32 => input
                .reset::<f32>(&shape)
                .map(|x| x.iter_mut().enumerate().for_each(|(place, x)| *x = number(place) as f32)),
            ElementType::F64 => input
                .reset::<f64>(&shape)
                .map(|x| x.iter_mut().enumerate().for_each(|(place, x)| *x = number(place))),
            ElementType::I64 => input.reset::<i64>(&shape).map(|x| x.fill(1)),
            ElementType::I32 => input.reset::<i32>(&shape).map(|x| x.fill(-1)),
            ElementType::Bool => input.reset::<bool>(&shape).map(|x| x.fill(true)),
            ElementType::Text => input.reset_text(&shape, |texts| {
                (0..shape.iter().product::<usize>()).for_each(|_| texts.push("new"));
                Ok(())
            }),
            other => panic!("the native runtime takes no {other}"),
        };
        filled.map(|()| input).ok()
    };
    specs.iter().map(input).collect()
}

/// The bits of a row; of NaN that it is NaN.
fn row(output: &TensorBuf, row: usize) -> String {
    let view = output.view().slice_rows(row..row + 1).expect("as many rows as asked for");
    match view.data() {
        TensorData::Text(texts) => texts.iter().collect::<Vec<_>>().join("\n"),
        data => format!("{data:?}"),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((format, bytes)) = data.split_first() else { return };
    let model = match format % 4 {
        0 => NativeRuntime::from_onnx(&bytes.to_vec().into()),
        1 => NativeRuntime::from_lightgbm(&String::from_utf8_lossy(bytes)),
        2 => NativeRuntime::from_xgboost(bytes),
        _ => NativeRuntime::from_bytes(&bytes.to_vec().into()),
    };
    let Ok(model) = model else { return };
    let specs = &model.signature().inputs;
    for rows in [1, 3, 67] {
        let Some(inputs) = inputs(specs, rows) else { return };
        if rows > 1 && inputs.iter().map(|input| input.view().data().len()).sum::<usize>() > 1 << 18 {
            return;
        }
        let views: Vec<_> = inputs.iter().map(TensorBuf::view).collect();
        let Ok(together) = model.predict(&views) else { continue };
        let last: Vec<TensorView<'_>> =
            views.iter().map(|view| view.slice_rows(rows - 1..rows).expect("there are as many")).collect();
        let alone = model.predict(&last).expect("it was answered among others");
        for (together, alone) in together.iter().zip(&alone) {
            assert_eq!(row(together, rows - 1), row(alone, 0), "row {} of {rows}", rows - 1);
        }
    }
});
