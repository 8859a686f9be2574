//! The pure Rust runtime for other graphs.

use mlops_serve::ErrorKind;
use mlops_serve::runtime::{Runtime, TractRuntime};
use mlops_serve::tensor::{TensorBuf, TensorView};

use crate::golden::{Tolerance, bytes, check_rows, inputs};

fn load(name: &str) -> mlops_serve::Result<TractRuntime> {
    TractRuntime::from_onnx(&bytes(&format!("{name}.onnx")))
}

#[test]
fn networks_and_linear_models_differ_by_rounding_alone() {
    let close = Tolerance { absolute: 3e-7, relative: 2e-6 };
    for name in ["mlp", "two_tower", "retrieval", "dlrm", "logistic_classes"] {
        let model = load(name).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        check_rows(name, &model, &close, &close);
    }
}

#[test]
fn the_contract_is_kept() {
    for name in ["mlp", "two_tower", "retrieval", "dlrm", "logistic_classes", "mlp_int8", "mlp_int8_static"] {
        let model = load(name).unwrap();
        let inputs = inputs(name, &model);
        let views: Vec<TensorView<'_>> = inputs.iter().map(TensorBuf::view).collect();
        mlops_serve::runtime::conformance::check(&model, &views, 1e-6)
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(model.engine(), "tract");
    }
}

#[test]
fn what_it_is_bad_at_is_refused_with_the_reason() {
    for (name, reason) in [
        ("forest_regressor", "hundreds of times as long as others for TreeEnsembleRegressor"),
        ("lightgbm_classifier", "TreeEnsembleClassifier"),
        ("logistic_categories", "does not take the texts of input `visitor`"),
    ] {
        let error = load(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(format!("{error:#}").contains(reason), "{error:#}");
    }
    for bytes in [&b""[..], b"not a model", &bytes("mlp.onnx")[..500]] {
        let error = TractRuntime::from_onnx(&bytes.to_vec().into()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Unsupported), "{error:#}");
    }
}
