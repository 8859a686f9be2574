//! Model files behind an endpoint: swap, rollout and capture for every format.

use std::sync::Arc;

use mlops_core::data::Value;
use mlops_core::{ModelVersion, RequestId, SystemClock};
use mlops_serve::endpoint::{Endpoint, Head, Model};
use mlops_serve::runtime::NativeRuntime;

use crate::golden::{bytes, golden};

/// Scores the golden rows one by one and all at once, and compares with the learner's last column.
fn agree(name: &str, runtime: NativeRuntime, tolerance: f64) {
    let golden = golden(name);
    let (input, output) = (&golden.inputs[0], &golden.outputs[0]);
    let columns = output.shape.get(1).copied().unwrap_or(1);
    let model = Model::new(ModelVersion::new("shop", 1), runtime).unwrap();
    let head = Head { output: "score".into(), column: columns - 1 };
    let model = Arc::new(model.with_head(&head).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(model).unwrap();

    let numbers = input.numbers();
    let rows: Vec<Vec<Value<'_>>> = numbers
        .chunks_exact(input.shape[1])
        .map(|row| row.iter().map(|value| Value::Float(*value)).collect())
        .collect();
    let mut scores = Vec::new();
    let slices: Vec<&[Value<'_>]> = rows.iter().map(Vec::as_slice).collect();
    endpoint.score_rows(RequestId::from_key("all"), &slices, &mut scores).unwrap();
    for (index, want) in output.numbers().chunks_exact(columns).map(|row| row[columns - 1]).enumerate() {
        let answer = endpoint.score(RequestId::from_key(index.to_le_bytes()), &rows[index]).unwrap();
        assert_eq!(answer.score, scores[index]);
        assert!((answer.score - want).abs() <= tolerance * (1.0 + want.abs()), "{name}: row {index}");
    }
}

fn lightgbm(name: &str) -> NativeRuntime {
    NativeRuntime::from_lightgbm(&String::from_utf8_lossy(&bytes(&format!("{name}.txt")))).unwrap()
}

#[test]
fn models_that_lightgbm_saved_as_text() {
    for name in ["regressor", "classifier", "classes", "poisson", "categories", "zeros", "forest"] {
        let name = format!("lightgbm_{name}");
        agree(&format!("{name}_text"), lightgbm(&name), 1e-12);
    }
}

#[test]
fn models_that_xgboost_saved_as_json() {
    for name in ["xgboost_regressor", "xgboost_classifier", "xgboost_classes"] {
        let runtime = NativeRuntime::from_xgboost(&bytes(&format!("{name}.json"))).unwrap();
        agree(&format!("{name}_json"), runtime, 1e-6);
    }
}

#[test]
fn cells_reach_a_model_of_64_bits_as_they_are() {
    let model = Model::new(ModelVersion::new("shop", 1), lightgbm("lightgbm_regressor")).unwrap();
    let width = model.row_width().unwrap();
    let row = |value| vec![Value::Float(value); width];
    assert!(model.score(&row(1e300)).unwrap().is_finite(), "beyond 32-bit floats");
    assert!(model.score(&vec![Value::Missing; width]).unwrap().is_finite());
    assert!(model.score(&row(1.0)[1..]).is_err());
}
