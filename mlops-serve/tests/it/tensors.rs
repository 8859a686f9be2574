//! Models with several inputs, ids, texts and lists of the best, behind an endpoint.

use std::sync::Arc;

use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::record::RecordSchema;
use mlops_core::{ElementType, ErrorKind, ModelSignature, ModelVersion, RequestId, SystemClock, TensorSpec};
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{ArmSpec, Endpoint, Head, Model, Request, Shadow};
use mlops_serve::runtime::{FnRuntime, NativeRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::{TensorBuf, TensorData, TensorView};

use crate::golden::{bytes, inputs};
use crate::models::{id, model};

fn native(name: &str) -> NativeRuntime {
    NativeRuntime::from_onnx(&bytes(&format!("{name}.onnx"))).unwrap()
}

fn version(number: u64) -> ModelVersion {
    ModelVersion::new("shop", number)
}

/// Row `row` of tensors, cell by cell.
fn cells<'a>(views: &[TensorView<'a>], row: usize) -> Vec<Value<'a>> {
    let mut cells = Vec::new();
    for view in views {
        match view.slice_rows(row..row + 1).unwrap().data() {
            TensorData::F32(values) => cells.extend(values.iter().map(|value| Value::Float((*value).into()))),
            TensorData::I64(values) => cells.extend(values.iter().map(|value| Value::Integer(*value))),
            TensorData::Text(texts) => cells.extend(texts.iter().map(Value::Text)),
            other => panic!("{other:?}"),
        }
    }
    cells
}

#[test]
fn rows_fill_the_inputs_in_their_order() {
    for (name, head) in [
        ("two_tower", None),
        ("dlrm", None),
        ("logistic_categories", Some(Head { output: "probabilities".into(), column: 1 })),
    ] {
        let runtime = Arc::new(native(name));
        let tensors = inputs(name, &*runtime);
        let views: Vec<TensorView<'_>> = tensors.iter().map(TensorBuf::view).collect();
        let want = runtime.predict(&views).unwrap();
        let output = match &head {
            Some(head) => {
                runtime.signature().outputs.iter().position(|spec| spec.name == head.output).unwrap()
            }
            None => 0,
        };
        let want = want[output].view();
        let mut model = Model::from_arc(version(1), runtime).unwrap();
        if let Some(head) = &head {
            model = model.with_head(head).unwrap();
        }
        let endpoint = Endpoint::new("shop", SystemClock::new());
        endpoint.deploy(Arc::new(model)).unwrap();
        let rows: Vec<Vec<Value<'_>>> = (0..views[0].rows()).map(|row| cells(&views, row)).collect();
        let mut scores = Vec::new();
        let slices: Vec<&[Value<'_>]> = rows.iter().map(Vec::as_slice).collect();
        endpoint.score_rows(id(0), &slices, &mut scores).unwrap();
        let width = want.data().len() / rows.len();
        let want = want.values::<f32>().unwrap().chunks_exact(width).map(|row| f64::from(row[width - 1]));
        assert!(want.eq(scores.iter().copied()), "{name}");
        assert_eq!(endpoint.score(id(1), &rows[1]).unwrap().score, scores[1], "{name}");
    }
}

#[test]
fn cells_that_do_not_fit_an_input_are_named() {
    let model = Model::new(version(1), native("two_tower")).unwrap();
    let width = model.row_width().unwrap();
    let mut row = vec![Value::Float(0.5); width];
    let message = |row: &[Value<'_>]| {
        let error = model.score(row).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        error.to_string()
    };
    let first = model.runtime().signature().inputs[0].name.clone();
    let want = |cell: &str| {
        format!("cell {cell} is no whole number, which input `{first}` takes without an encoder")
    };
    assert_eq!(message(&row), want("0.5"));
    row[0] = Value::Missing;
    assert_eq!(message(&row), want(&Value::Missing.to_string()));
    row[0] = Value::Float(1e300);
    assert!(message(&row).contains("no whole number"));
    assert_eq!(message(&row[1..]), format!("the row has {} cells, the model takes {width}", width - 1));
}

/// A model that gives the two best of three items for each row.
fn best_two(number: u64, sign: f32) -> Arc<Model> {
    let signature = ModelSignature {
        inputs: vec![TensorSpec::batch("user", ElementType::F32, 3)],
        outputs: vec![
            TensorSpec::batch("scores", ElementType::F32, 2),
            TensorSpec::batch("items", ElementType::I64, 2),
        ],
    };
    let runtime = FnRuntime::new("best", signature, move |inputs, outputs| {
        let rows = inputs[0].rows();
        let users = inputs[0].values::<f32>()?;
        let (scores, items) = outputs.split_at_mut(1);
        let scores = scores[0].reset::<f32>([rows, 2])?;
        let items = items[0].reset::<i64>([rows, 2])?;
        for (row, user) in users.chunks_exact(3).enumerate() {
            let mut ranked: Vec<usize> = (0..3).collect();
            ranked.sort_by(|a, b| (sign * user[*b]).total_cmp(&(sign * user[*a])));
            for place in 0..2 {
                scores[2 * row + place] = sign * user[ranked[place]];
                items[2 * row + place] = ranked[place] as i64;
            }
        }
        Ok(())
    });
    Arc::new(Model::new(version(number), runtime.unwrap()).unwrap())
}

#[test]
fn tensors_go_through_arms_rescue_and_capture() {
    let features = ["a", "b", "c"].map(|name| Column::new(name, ColumnKind::Float));
    let schema = RecordSchema::new(&TableSchema::new(features).unwrap(), ["s0", "s1", "i0", "i1"]);
    let capture = Arc::new(Capture::new(schema.unwrap(), CaptureSettings::default()).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new())
        .with_capture(Arc::clone(&capture))
        .with_default_score(0.5)
        .unwrap()
        .with_remembered_answers(10);
    let users = [0.1_f32, 0.9, 0.5, 0.7, 0.2, 0.3];
    let users = TensorView::new(&users, [2, 3]).unwrap();
    let mut outputs = Vec::new();
    assert!(endpoint.run(id(0), &[users], &mut outputs).unwrap_err().is_retryable(), "no model yet");
    endpoint.deploy(best_two(1, 1.0)).unwrap();
    // Takes one feature, not three.
    let error = endpoint.challenge(model(2, |x| x), 0.5).unwrap_err();
    assert!(
        error.to_string().starts_with("shop/2 takes rows of 1 cells, the champion shop/1 of 3"),
        "{error}"
    );
    assert!(endpoint.deploy(model(2, |x| x)).is_err());
    let arm = |name, model| ArmSpec::new(name, model, 0.5);
    endpoint.set_arms(vec![arm("champion", best_two(1, 1.0)), arm("challenger", model(2, |x| x))]).unwrap();
    let mut fallbacks = 0;
    for number in 0..50 {
        let origin = endpoint.run(id(number), &[users], &mut outputs).unwrap();
        assert_eq!(outputs[1].view().values::<i64>().unwrap(), [1, 2, 0, 2]);
        assert_eq!(origin.version, version(1));
        assert_eq!(origin.fallback, origin.arm == "challenger");
        fallbacks += u64::from(origin.fallback);
    }
    assert!((10..40).contains(&fallbacks), "{fallbacks}");
    let failures: u64 = endpoint.take_traffic().iter().map(|arm| arm.traffic.failures).sum();
    assert_eq!(failures, fallbacks);
    let batch = capture.drain().unwrap().unwrap();
    assert_eq!((batch.num_rows(), capture.counts().rejected), (100, 0));
    let text = |name: &str, row: usize| {
        arrow_cast::display::array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap()
    };
    assert_eq!((text("feature.b", 0).as_str(), text("output.i0", 1).as_str()), ("0.8999999761581421", "0.0"));

    // Without a model that answers, neither the default score nor an answer from before is a tensor.
    endpoint.roll_back().unwrap();
    let one = TensorView::new(&[1.0_f32], [1, 1]).unwrap();
    let error = endpoint.run(id(0), &[one], &mut outputs).unwrap_err();
    assert_eq!(error.to_string(), "input `user` wants f32[batch, 3], got shape [1, 1]");
    let nan = [f32::NAN, 0.5, 0.25];
    let nan = TensorView::new(&nan, [1, 3]).unwrap();
    let error = endpoint.run(id(0), &[nan], &mut outputs).unwrap_err();
    assert_eq!(
        error.to_string(),
        "shop/1 answered NaN in output `scores`, since input `user` holds NaN: send numbers"
    );
    endpoint.deploy(best_two(3, f32::NAN)).unwrap();
    let error = endpoint.run(id(0), &[users], &mut outputs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(endpoint.score(id(0), &[Value::Float(1.0); 3]).unwrap().score, 0.5, "of `score` it is");
}

#[test]
fn a_ranking_is_captured_and_shadowed_row_by_row() {
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let schema = || RecordSchema::new(&table, ["score"]).unwrap();
    let capture = Arc::new(Capture::new(schema(), CaptureSettings::default().sample(0.5)).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&capture));
    endpoint.deploy(model(1, |x| 2.0 * x)).unwrap();
    let shadow = Arc::new(Shadow::new(model(2, |x| 3.0 * x), SystemClock::new()));
    endpoint.set_shadows(vec![Arc::clone(&shadow)]).unwrap();
    let rows = [[Value::Float(1.0)], [Value::Float(2.0)], [Value::Float(3.0)]];
    let rows: Vec<&[Value<'_>]> = rows.iter().map(<[_; 1]>::as_slice).collect();
    let names = ["hat", "scarf", "shoe"];
    let mut ids = Vec::new();
    let mut scores = Vec::new();
    for number in 0..100 {
        let request = Request::new(id(number)).candidates(&names);
        endpoint.score_rows(request, &rows, &mut scores).unwrap();
        ids.extend((0..3).map(|index| request.row_id(index)));
    }
    assert_eq!(ids[0], id(0));
    shadow.work();
    let stats = shadow.stats();
    assert_eq!((stats.scored, stats.difference.mean()), (300, Some(2.0)));

    let batch = capture.drain().unwrap().unwrap();
    let text = |name: &str, row: usize| {
        arrow_cast::display::array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap()
    };
    assert!((90..=210).contains(&batch.num_rows()) && batch.num_rows().is_multiple_of(3), "whole requests");
    for row in 0..batch.num_rows() {
        let place = row % 3;
        assert_eq!(text("candidates", row), format!("[{}]", names[place]));
        assert_eq!(text("output.score", row), format!("{:?}", 2.0 * (place as f64 + 1.0)));
    }
    let unique: std::collections::BTreeSet<RequestId> = ids.iter().copied().collect();
    assert_eq!(unique.len(), 300);
}

#[test]
fn a_number_that_no_float_holds_is_not_captured_and_a_gap_is_a_missing_cell() {
    let signature = ModelSignature {
        inputs: vec![TensorSpec::batch("x", ElementType::F32, 1)],
        outputs: vec![TensorSpec::batch("item", ElementType::I64, 1)],
    };
    let runtime = FnRuntime::new("item", signature, |inputs, outputs| {
        let large = inputs[0].values::<f32>()?[0] == 1.0;
        outputs[0].reset::<i64>([1, 1])?[0] = if large { (1 << 53) + 1 } else { 1 << 53 };
        Ok(())
    });
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let schema = RecordSchema::new(&table, ["item"]).unwrap();
    let capture = Arc::new(Capture::new(schema, CaptureSettings::default()).unwrap());
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&capture));
    endpoint.deploy(Arc::new(Model::new(version(1), runtime.unwrap()).unwrap())).unwrap();
    for (number, x) in (0..).zip([1.0_f32, f32::NAN]) {
        endpoint.run(id(number), &[TensorView::new(&[x], [1, 1]).unwrap()], &mut Vec::new()).unwrap();
    }
    let batch = capture.drain().unwrap().unwrap();
    assert_eq!((batch.num_rows(), capture.counts().rejected), (1, 1));
    assert!(batch.column_by_name("feature.x").unwrap().is_null(0));
}

#[test]
fn a_shadow_captures_the_rows_that_the_endpoint_captures() {
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let capture = || {
        let settings = CaptureSettings::default().sample(0.3);
        Arc::new(Capture::new(RecordSchema::new(&table, ["score"]).unwrap(), settings).unwrap())
    };
    let (heard, unheard) = (capture(), capture());
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_capture(Arc::clone(&heard));
    endpoint.deploy(model(1, |x| x)).unwrap();
    let shadow = Shadow::new(model(2, |x| 2.0 * x), SystemClock::new()).with_capture(Arc::clone(&unheard));
    let shadow = Arc::new(shadow);
    endpoint.set_shadows(vec![Arc::clone(&shadow)]).unwrap();
    let row = [Value::Float(1.0)];
    for number in 0..100 {
        endpoint.score_rows(id(number), &[&row[..]; 5], &mut Vec::new()).unwrap();
    }
    shadow.work();
    let ids = |capture: &Capture| {
        let batch = capture.drain().unwrap().unwrap();
        let ids = batch.column_by_name("request_id").unwrap().to_data();
        (batch.num_rows(), ids)
    };
    let (heard, unheard) = (ids(&heard), ids(&unheard));
    assert!(heard.0 > 50 && heard.0 < 300 && heard.0.is_multiple_of(5));
    assert_eq!(heard, unheard);
}
