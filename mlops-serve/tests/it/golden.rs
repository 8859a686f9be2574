//! Golden inputs and outputs of `testdata/serve`, and how they are compared.

use std::path::PathBuf;

use mlops_core::ElementType;
use mlops_serve::runtime::{Runtime, RuntimeExt};
use mlops_serve::tensor::{TensorBuf, TensorView, f16};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) oracle: String,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Tensor>,
}

#[derive(Deserialize)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<Value>,
}

pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testdata/serve").join(name)
}

pub(crate) fn bytes(name: &str) -> bytes::Bytes {
    let path = file(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

pub(crate) fn golden(name: &str) -> Golden {
    serde_json::from_slice(&bytes(&format!("{name}.golden.json"))).unwrap()
}

/// A number of a golden file; NaN and infinities are texts there.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

impl Tensor {
    pub(crate) fn numbers(&self) -> Vec<f64> {
        self.data.iter().map(number).collect()
    }

    /// As an input of the type that the model wants.
    pub(crate) fn buffer(&self, element: ElementType) -> TensorBuf {
        let mut buffer = TensorBuf::new(element);
        let shape = &self.shape;
        match element {
            ElementType::F16 => {
                let values: Vec<f16> = self.data.iter().map(|value| f16::from_f64(number(value))).collect();
                buffer.reset::<f16>(shape).unwrap().copy_from_slice(&values);
            }
            ElementType::F32 => {
                let values: Vec<f32> = self.data.iter().map(|value| number(value) as f32).collect();
                buffer.reset::<f32>(shape).unwrap().copy_from_slice(&values);
            }
            ElementType::F64 => buffer.reset::<f64>(shape).unwrap().copy_from_slice(&self.numbers()),
            ElementType::I64 => {
                let values: Vec<i64> = self.data.iter().map(|value| value.as_i64().unwrap()).collect();
                buffer.reset::<i64>(shape).unwrap().copy_from_slice(&values);
            }
            ElementType::Text => {
                let fill = |texts: &mut mlops_serve::tensor::TextBuf| {
                    self.data.iter().for_each(|value| texts.push(value.as_str().unwrap()));
                    Ok(())
                };
                buffer.reset_text(shape, fill).unwrap();
            }
            other => panic!("no {other} in golden files"),
        }
        buffer
    }
}

/// How far an output may be from the golden one.
pub(crate) struct Tolerance {
    pub(crate) absolute: f64,
    pub(crate) relative: f64,
}

pub(crate) const EXACT: Tolerance = Tolerance { absolute: 0.0, relative: 0.0 };

/// Runs the golden inputs in one batch, and compares all outputs; then row by row, and compares the bits.
pub(crate) fn check(name: &str, model: &dyn Runtime, tolerance: &Tolerance) {
    check_rows(name, model, tolerance, &EXACT);
}

/// The same for the output `score` against a golden output of another name.
pub(crate) fn check_score(name: &str, want: &str, model: &dyn Runtime, tolerance: &Tolerance) {
    let golden = golden(name);
    let features = golden.inputs[0].buffer(model.signature().inputs[0].element);
    let got = model.predict(&[features.view()]).unwrap();
    let want = golden.outputs.iter().find(|output| output.name == want).unwrap();
    compare(name, want, got[0].view(), tolerance);
}

/// The same, where a row alone may differ so much from the row in a batch.
pub(crate) fn check_rows(name: &str, model: &dyn Runtime, tolerance: &Tolerance, alone: &Tolerance) {
    let golden = golden(name);
    assert!(!golden.oracle.is_empty());
    let inputs = inputs(name, model);
    let views: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
    let whole = model.predict(&views).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    for (spec, got) in model.signature().outputs.iter().zip(&whole) {
        let want = golden.outputs.iter().find(|want| want.name == spec.name).unwrap();
        assert_eq!((&spec.name, spec.element), (&want.name, got.element()), "{name}");
        assert_eq!(want.element, got.element(), "{name}: {spec}");
        // LightGBM and XGBoost drop the axis of a single score.
        let shape = got.view();
        let shape =
            shape.shape().strip_suffix(&[1]).filter(|_| want.shape.len() == 1).unwrap_or(shape.shape());
        assert_eq!(shape, &want.shape[..], "{name}: {spec}");
        compare(name, want, got.view(), tolerance);
    }
    // Every row alone, into the same buffers.
    let rows = views[0].rows();
    let mut outputs = model.outputs();
    for row in 0..rows {
        let one: Vec<_> = views.iter().map(|view| view.slice_rows(row..row + 1).unwrap()).collect();
        model.run(&one, &mut outputs).unwrap();
        for (whole, one) in whole.iter().zip(&outputs) {
            let whole = whole.view().slice_rows(row..row + 1).unwrap();
            let what = format!("{name}: row {row} alone");
            match whole.element() {
                ElementType::F16 | ElementType::F32 => {
                    close(&what, &wide(&whole), &wide(&one.view()), alone);
                }
                _ => assert!(same(&whole, &one.view()), "{what}"),
            }
        }
    }
}

/// The golden inputs in the order of the model.
pub(crate) fn inputs(name: &str, model: &dyn Runtime) -> Vec<TensorBuf> {
    let golden = golden(name);
    model
        .signature()
        .inputs
        .iter()
        .map(|spec| {
            let input = golden.inputs.iter().find(|input| input.name == spec.name);
            input.unwrap_or_else(|| panic!("{name}: no golden input {spec}")).buffer(spec.element)
        })
        .collect()
}

/// 16-bit or 32-bit elements with room for differences.
pub(crate) fn wide(view: &TensorView<'_>) -> Vec<f64> {
    match view.element() {
        ElementType::F16 => view.values::<f16>().unwrap().iter().map(|value| f64::from(*value)).collect(),
        _ => view.values::<f32>().unwrap().iter().map(|value| f64::from(*value)).collect(),
    }
}

fn same(a: &TensorView<'_>, b: &TensorView<'_>) -> bool {
    match a.element() {
        ElementType::F64 => {
            let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            bits(a.values::<f64>().unwrap()) == bits(b.values::<f64>().unwrap())
        }
        ElementType::I64 => a.values::<i64>().unwrap() == b.values::<i64>().unwrap(),
        _ => a.text().unwrap().iter().eq(b.text().unwrap().iter()),
    }
}

fn compare(name: &str, want: &Tensor, got: TensorView<'_>, tolerance: &Tolerance) {
    match got.element() {
        ElementType::F16 | ElementType::F32 => close(name, &want.numbers(), &wide(&got), tolerance),
        ElementType::F64 => close(name, &want.numbers(), got.values::<f64>().unwrap(), tolerance),
        ElementType::I64 => {
            let want: Vec<i64> = want.data.iter().map(|value| value.as_i64().unwrap()).collect();
            assert_eq!(got.values::<i64>().unwrap(), want, "{name}");
        }
        _ => {
            let want: Vec<&str> = want.data.iter().map(|value| value.as_str().unwrap()).collect();
            assert_eq!(got.text().unwrap().iter().collect::<Vec<_>>(), want, "{name}");
        }
    }
}

pub(crate) fn close(name: &str, want: &[f64], got: &[f64], tolerance: &Tolerance) {
    assert_eq!(want.len(), got.len(), "{name}");
    for (place, (want, got)) in want.iter().zip(got).enumerate() {
        let distance = (want - got).abs();
        let equal = want == got || want.is_nan() && got.is_nan();
        assert!(
            equal || distance <= tolerance.absolute + tolerance.relative * want.abs(),
            "{name}: element {place} is {got}, want {want}"
        );
    }
}
