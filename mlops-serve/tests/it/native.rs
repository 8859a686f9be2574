//! The native runtime against ONNX Runtime and the learners themselves.

use mlops_serve::runtime::{NativeRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::TensorView;

use crate::golden::{EXACT, Tolerance, bytes, check, check_score, file};

fn onnx(name: &str) -> NativeRuntime {
    NativeRuntime::from_onnx(&bytes(&format!("{name}.onnx")))
        .unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

#[test]
fn trees_are_bit_identical_to_onnx_runtime() {
    for name in [
        "lightgbm_regressor",
        "lightgbm_classifier",
        "xgboost_regressor",
        "xgboost_classifier",
        "forest_regressor",
        "forest_classifier",
        "forest_classes",
        "handmade_sum",
        "handmade_average",
        "handmade_one_base_none",
        "handmade_one_base_logistic",
        "trees5_numbers",
        "trees5_targets",
        "trees5_members",
    ] {
        check(name, &onnx(name), &EXACT);
    }
}

#[test]
fn several_classes_differ_by_the_exponential_alone() {
    // ONNX Runtime computes the softmax with an approximation of its own.
    for name in ["lightgbm_classes", "xgboost_classes"] {
        check(name, &onnx(name), &Tolerance { absolute: 0.0, relative: 5e-7 });
    }
}

#[test]
fn networks_and_linear_models_differ_by_rounding_alone() {
    for name in ["mlp", "two_tower", "retrieval", "dlrm", "logistic_categories", "logistic_classes"] {
        check(name, &onnx(name), &Tolerance { absolute: 3e-7, relative: 1e-6 });
    }
}

#[test]
fn what_the_kernels_do_not_know_is_refused_by_name() {
    let refused = |name: &str| NativeRuntime::from_onnx(&bytes(name)).unwrap_err();
    let error = refused("zipmap.onnx");
    assert!(format!("{error:#}").contains("zipmap=False"), "{error:#}");
}

#[test]
fn one_output_may_be_asked_for() {
    let bytes = bytes("lightgbm_classifier.onnx");
    let model = NativeRuntime::from_onnx_outputs(&bytes, &["probabilities".into()]).unwrap();
    assert_eq!(model.signature().outputs.len(), 1);
    let error = NativeRuntime::from_onnx_outputs(&bytes, &["probability".into()]).unwrap_err();
    assert_eq!(error.to_string(), "no output `probability`: the model gives label, probabilities");
}

#[test]
fn wrong_inputs_are_named() {
    let model = onnx("two_tower");
    let (ids, context) = ([1_i64, 2], [0.0_f32; 16]);
    let ids = TensorView::new(&ids, [2]).unwrap();
    let context = TensorView::new(&context, [2, 8]).unwrap();
    let wrong = |inputs: &[TensorView<'_>]| model.predict(inputs).unwrap_err().to_string();
    assert!(model.predict(&[ids, context, ids]).is_ok());
    assert_eq!(wrong(&[ids, context]), "the model takes 3 inputs (user_id, context, item_id), got 2");
    assert_eq!(wrong(&[ids, ids, ids]), "input `context` wants f32[batch, 8], got i64[2]");
    let one = ids.slice_rows(0..1).unwrap();
    assert_eq!(
        wrong(&[ids, context, one]),
        "input `item_id` has batch = 1, but input `user_id` has batch = 2"
    );
    let none = ids.slice_rows(0..0).unwrap();
    assert!(wrong(&[none, context, none]).contains("is empty"));
    let unknown = [1_i64, 100];
    let unknown = TensorView::new(&unknown, [2]).unwrap();
    assert_eq!(
        wrong(&[unknown, context, ids]),
        "`user_id` holds 100, its table has 100 entries: ids must be known to the model"
    );
}

#[test]
fn lightgbm_models_are_bit_identical_before_the_objective() {
    for name in ["regressor", "classifier", "classes", "categories", "zeros", "poisson", "forest"] {
        let text = std::fs::read_to_string(file(&format!("lightgbm_{name}.txt"))).unwrap();
        let golden = format!("lightgbm_{name}_text");
        let load = || NativeRuntime::from_lightgbm(&text).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        check(&golden, &load(), &Tolerance { absolute: 0.0, relative: 1e-15 });
        check_score(&golden, "raw", &load().raw_scores().unwrap(), &EXACT);
    }
}

#[test]
fn xgboost_models_are_bit_identical_before_the_objective() {
    for (name, ending) in [
        ("regressor", "json"),
        ("classifier", "json"),
        ("classifier", "ubj"),
        ("classes", "json"),
        ("categories", "json"),
        ("categories", "ubj"),
    ] {
        let saved = bytes(&format!("xgboost_{name}.{ending}"));
        let golden = format!("xgboost_{name}_json");
        let load = || NativeRuntime::from_bytes(&saved).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        check_score(&golden, "raw", &load().raw_scores().unwrap(), &EXACT);
        check(&golden, &load(), &Tolerance { absolute: 0.0, relative: 2e-7 });
    }
}

#[cfg(feature = "conformance")]
#[test]
fn the_contract_is_kept() {
    for name in ["mlp", "two_tower", "retrieval", "dlrm", "lightgbm_classifier", "logistic_categories"] {
        let model = onnx(name);
        let inputs = crate::golden::inputs(name, &model);
        let views: Vec<_> = inputs.iter().map(mlops_serve::tensor::TensorBuf::view).collect();
        mlops_serve::runtime::conformance::check(&model, &views, 0.0)
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
}

#[test]
fn the_fastest_is_chosen_and_says_why() {
    use mlops_core::{Clock, ManualClock, Timestamp};
    use mlops_serve::runtime::{AutoRuntime, FnRuntime};
    use std::sync::Arc;
    use std::time::Duration;

    // Costs in microseconds: `steady` 10 a call, `rows` 1 and 1 a row.
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let fake = |name: &'static str, fixed: u64, row: u64, answer: f32| {
        let clock = Arc::clone(&clock);
        let model = FnRuntime::new(name, crate::models::signature(), move |inputs, outputs| {
            let rows = inputs[0].rows();
            clock.advance(Duration::from_micros(fixed + row * rows as u64));
            outputs[0].reset::<f32>([rows, 1])?.fill(answer);
            Ok(())
        });
        model.map(|model| Box::new(model) as Box<dyn Runtime>)
    };
    let sample = [1.0_f32, 2.0];
    let sample = TensorView::new(&sample, [2, 1]).unwrap();
    let clock: &dyn Clock = &Arc::clone(&clock);
    let candidates = || [("steady", fake("steady", 10, 0, 0.5)), ("rows", fake("rows", 1, 1, 0.5))];
    let auto = AutoRuntime::measure(candidates(), &[sample], clock).unwrap();
    let winners: Vec<_> = auto.choices().iter().map(|choice| (choice.rows, choice.winner.as_str())).collect();
    assert_eq!(winners, [(1, "rows"), (8, "rows"), (64, "steady"), (256, "steady")]);
    let first = auto.to_string();
    assert_eq!(
        first.lines().next().unwrap(),
        "rows answers batches of 1 rows: steady takes 10000 ns, rows takes 2000 ns"
    );
    let before = clock.monotonic_ns();
    auto.predict(&[sample]).unwrap();
    assert_eq!(clock.monotonic_ns() - before, 3000, "two rows go to `rows`");

    let wrong = candidates().into_iter().chain([("wrong", fake("wrong", 0, 0, 0.7))]);
    let auto = AutoRuntime::measure(wrong, &[sample], clock).unwrap();
    assert!(auto.left_out()[0].reason.contains("away from that of the first runtime"), "{auto}");
    let none: [(&str, mlops_serve::Result<Box<dyn Runtime>>); 0] = [];
    assert!(AutoRuntime::measure(none, &[sample], clock).is_err());
}
