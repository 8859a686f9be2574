//! Models in half precision and quantised ones.

use std::collections::BTreeMap;

use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema, Value};
use mlops_core::features::{Encoder, EncoderSpec, Transform};
use mlops_core::{
    Digest, ElementType, ModelFile, ModelPackage, ModelSignature, ModelVersion, RequestId, SystemClock,
    TensorSpec,
};
use mlops_serve::ErrorKind;
use mlops_serve::endpoint::{Endpoint, Golden, Loader, Model, Precision, Request};
use mlops_serve::runtime::{Capabilities, FnRuntime, NativeRuntime, Runtime};
use mlops_serve::tensor::{TensorBuf, TensorView, f16};

use crate::golden::{bytes, golden, number};

#[cfg(feature = "ort")]
#[test]
fn golden_outputs_by_onnx_runtime() {
    use mlops_serve::runtime::{OrtOptions, OrtRuntime, Runtime};

    use crate::golden::{EXACT, Tolerance, check_rows};

    let Some(library) = crate::ort::library() else { return };
    // Half precision rounds to 11 bits, and one row alone takes another kernel.
    for (kind, alone) in [("fp16", 1e-3), ("fp16_inside", 5e-4), ("int8", 2e-2), ("int8_static", 1e-6)] {
        for model in ["mlp", "two_tower"] {
            let name = format!("{model}_{kind}");
            let bytes = bytes(&format!("{name}.onnx"));
            let model = OrtRuntime::from_bytes(&library, &bytes, &OrtOptions::default()).unwrap();
            check_rows(&name, &model, &EXACT, &Tolerance { absolute: alone, relative: 0.0 });
            assert_eq!(model.capabilities().rows_independent, kind != "int8", "{name}");
            #[cfg(feature = "conformance")]
            {
                let inputs = crate::golden::inputs(&name, &model);
                let views: Vec<TensorView<'_>> = inputs.iter().map(|input| input.view()).collect();
                mlops_serve::runtime::conformance::check(&model, &views, alone).unwrap();
            }
        }
    }
}

#[cfg(feature = "tract")]
#[test]
fn golden_outputs_by_tract() {
    use mlops_serve::runtime::{Runtime, TractRuntime};

    use crate::golden::{Tolerance, check_rows};

    let close = Tolerance { absolute: 1e-7, relative: 0.0 };
    for model in ["mlp", "two_tower"] {
        for (kind, alone) in [("int8", 2e-2), ("int8_static", 1e-6)] {
            let name = format!("{model}_{kind}");
            let model = TractRuntime::from_onnx(&bytes(&format!("{name}.onnx"))).unwrap();
            check_rows(&name, &model, &close, &Tolerance { absolute: alone, relative: 0.0 });
            assert_eq!(model.capabilities().rows_independent, kind != "int8", "{name}");
        }
        for kind in ["fp16", "fp16_inside"] {
            let error = TractRuntime::from_onnx(&bytes(&format!("{model}_{kind}.onnx"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let text = format!("{error:#}");
            assert!(text.contains("half precision") && text.contains("load the model with `ort`"), "{text}");
        }
    }
}

#[test]
fn our_kernels_refuse_other_precisions() {
    for (kind, want) in
        [("fp16", "16-bit floats"), ("fp16_inside", "16-bit floats"), ("int8", "8-bit integers")]
    {
        for model in ["mlp", "two_tower"] {
            let error = NativeRuntime::from_onnx(&bytes(&format!("{model}_{kind}.onnx"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(want) && error.to_string().contains("`ort`"), "{error}");
        }
    }
}

/// Adds the two halves of a row, in 16 bits.
fn halves() -> Model {
    let signature = ModelSignature {
        inputs: vec![TensorSpec::batch("x", ElementType::F16, 2)],
        outputs: vec![TensorSpec::batch("y", ElementType::F16, 1)],
    };
    let runtime = FnRuntime::new("halves", signature, |inputs, outputs| {
        let rows = inputs[0].values::<f16>()?.chunks_exact(2);
        let y = outputs[0].reset::<f16>([rows.len(), 1])?;
        y.iter_mut().zip(rows).for_each(|(y, row)| *y = f16::from_f32(row[0].to_f32() + row[1].to_f32()));
        Ok(())
    });
    Model::new(ModelVersion::new("shop", 1), runtime.unwrap()).unwrap()
}

#[test]
fn cells_become_halves_at_the_edge() {
    let model = halves();
    assert_eq!(model.score(&[Value::Float(0.5), Value::Integer(2)]).unwrap(), 2.5);
    // 2049 has no half of its own.
    assert_eq!(model.score(&[Value::Integer(2049), Value::Integer(0)]).unwrap(), 2048.0);
    let error = model.score(&[Value::Float(70_000.0), Value::Float(0.0)]).unwrap_err();
    assert_eq!(error.to_string(), "cell 70000 is beyond the f16 that input `x` takes");
    let error = model.score(&[Value::Missing, Value::Float(0.0)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "a gap gives NaN: {error}");

    let encoded = encoded_halves();
    assert_eq!(encoded.score(&[Value::Float(3.0), Value::Float(7.0)]).unwrap(), 8.0);
    let error = encoded.score(&[Value::Float(2.0), Value::Float(1e5)]).unwrap_err();
    assert_eq!(error.to_string(), "cell 100000 is beyond the f16 that input `x` takes");
}

/// The same behind an encoder that was fitted to 32 bits.
pub(crate) fn encoded_halves() -> Model {
    let schema = TableSchema::new(["a", "b"].map(|name| Column::new(name, ColumnKind::Float))).unwrap();
    let column = |cells: [f64; 2]| std::sync::Arc::new(Float64Array::from(cells.to_vec())) as ArrayRef;
    let columns = vec![column([1.0, 3.0]), column([10.0, 20.0])];
    let batch = RecordBatch::try_new(schema.to_arrow(), columns).unwrap();
    let train = Dataset::new(schema, [batch]).unwrap();
    let spec = EncoderSpec::new([("a", Transform::standardise()), ("b", Transform::passthrough())]);
    halves().with_encoder(Encoder::fit(&spec, &train).unwrap()).unwrap()
}

/// A package of the small network in several precisions, with its own scores as golden rows.
fn package(files: &[(&str, &str)], tolerance: Option<f64>) -> ModelPackage {
    let mut all = BTreeMap::new();
    let mut add = |name: &str, bytes: bytes::Bytes| {
        all.insert(name.to_owned(), (Digest::of(&bytes), ModelFile::Bytes(bytes)));
    };
    files.iter().for_each(|(name, model)| add(name, bytes(model)));
    if let Some(tolerance) = tolerance {
        let known = golden("mlp");
        let mut rows = Golden::new(tolerance);
        for (row, score) in known.inputs[0].data.chunks_exact(64).zip(&known.outputs[0].data) {
            let row: Vec<Value<'_>> = row.iter().map(|cell| Value::Float(number(cell))).collect();
            rows.push(&row, number(score));
        }
        add(Golden::FILE, rows.to_json().unwrap().into());
    }
    ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), all)
}

const FILES: [(&str, &str); 3] = [
    ("model.onnx", "mlp.onnx"),
    ("model.fp16.onnx", "mlp_fp16_inside.onnx"),
    ("model.int8.onnx", "mlp_int8_static.onnx"),
];

#[test]
fn precisions_are_asked_for_and_named() {
    let loader = Loader::auto(SystemClock::new());
    let all = package(&FILES, Some(1e-5));
    let model = loader.load(&all).unwrap();
    assert!(!format!("{:?}", model.runtime()).contains("int8"), "full precision alone by default");

    let several = loader.clone().precisions([Precision::Full, Precision::Int8]);
    let error = several.load(&package(&FILES, None)).unwrap_err();
    assert!(format!("{error:#}").contains("add `golden.json`"), "{error:#}");
    let error = loader.clone().precisions([Precision::Half]).load(&package(&FILES[..1], None)).unwrap_err();
    assert!(format!("{error:#}").contains("want one that ends in .fp16.onnx"), "{error:#}");
    let error = loader.clone().precisions([]).load(&all).unwrap_err();
    assert!(format!("{error:#}").contains("`Loader::precisions` names none"), "{error:#}");
    let halves = package(&[("model.onnx", "mlp.onnx"), ("model_fp16.onnx", "mlp_fp16_inside.onnx")], None);
    let error = loader.load(&halves).unwrap_err();
    let way_out = "in other precisions its name ends in .fp16.onnx (16-bit floats) or .int8.onnx (quantised), and \
                   `Loader::precisions` asks for it";
    assert!(format!("{error:#}").contains(way_out), "{error:#}");
    let error = loader.load(&package(&FILES[1..], None)).unwrap_err();
    assert!(format!("{error:#}").contains(way_out), "{error:#}");
    let twice = loader.clone().precisions([Precision::Full; 2]).load(&package(&FILES, None));
    assert!(twice.is_ok(), "one precision, so that no golden rows are needed: {twice:?}");
    // The only file may be called as it likes.
    let loaded = loader.load(&package(&FILES[2..], None));
    assert_eq!(loaded.is_ok(), cfg!(feature = "tract"), "{loaded:?}");
    let refused = |error: mlops_serve::Error| format!("{error:#}").contains("8-bit integers");
    assert!(loaded.map_or_else(refused, |_| true));

    let other = Loader::new(|_| Err(mlops_serve::Error::internal("not asked"))).precisions([Precision::Int8]);
    assert!(format!("{:#}", other.load(&all).unwrap_err()).contains("precisions are for `Loader::auto`"));
}

#[cfg(feature = "tract")]
#[test]
fn golden_rows_say_which_precisions_will_do() {
    let loader = Loader::auto(SystemClock::new());
    let quantised = loader.clone().precisions([Precision::Int8]);
    let strict = package(&FILES, Some(1e-5));
    let error = quantised.load(&strict).unwrap_err();
    assert!(format!("{error:#}").contains("scores golden row"), "{error:#}");
    let loose = package(&FILES, Some(1e-2));
    assert!(quantised.load(&loose).is_ok());

    let several = loader.precisions([Precision::Full, Precision::Half, Precision::Int8]);
    let (choice, left_out) = parts(&several.load(&strict).unwrap());
    assert!(choice.contains("native model.onnx") && !choice.contains("int8"), "{choice}");
    assert!(
        left_out.contains("tract model.int8.onnx") && left_out.contains("scores golden row"),
        "{left_out}"
    );
    assert!(left_out.contains("half precision"), "{left_out}");
    let other_way = [Precision::Int8, Precision::Half, Precision::Full];
    for several in [several.clone(), several.precisions(other_way)] {
        let (choice, left_out) = parts(&several.load(&loose).unwrap());
        assert!(choice.contains("tract model.int8.onnx"), "measured beside the others: {choice}");
        assert!(choice.contains("native model.onnx"), "the full one says what is right: {left_out}");
        assert!(left_out.contains("native model.int8.onnx"), "{left_out}");
    }
    // Quantised by the batch, it is measured in all sizes too.
    let dynamic = package(&[FILES[0], ("model.int8.onnx", "mlp_int8.onnx")], Some(0.1));
    let loader = Loader::auto(SystemClock::new()).precisions([Precision::Full, Precision::Int8]);
    let (choice, _) = parts(&loader.load(&dynamic).unwrap());
    assert_eq!(choice.matches("Choice {").count(), 4, "{choice}");
}

#[cfg(feature = "tract")]
#[test]
fn an_endpoint_tells_when_the_model_as_it_was_trained_is_left_out() {
    use std::sync::Arc;

    use mlops_core::{EventLog, Severity};

    let log = Arc::new(EventLog::default());
    let endpoint = Endpoint::new("shop", SystemClock::new()).with_events(Arc::clone(&log) as _);
    let loader = Loader::auto(SystemClock::new()).precisions([Precision::Full, Precision::Int8]);
    // Nobody here computes with 16-bit floats.
    let broken = package(&[("model.onnx", FILES[1].1), FILES[2]], Some(1e-2));
    for (package, doubted) in [(package(&FILES, Some(1e-2)), false), (broken, true)] {
        let model = loader.load(&package).unwrap();
        endpoint.deploy(Arc::clone(&model)).unwrap();
        endpoint.deploy(model).unwrap();
        let events = log.take();
        let warnings: Vec<_> = events.iter().filter(|event| event.severity == Severity::Warning).collect();
        assert_eq!(warnings.len(), usize::from(doubted), "once: {events:?}");
        let want =
            "answers in a reduced precision, since the model as it was trained fails: native model.onnx: ";
        assert!(warnings.iter().all(|event| event.message.starts_with(want)), "{events:?}");
    }
}

/// Answers each row with the sum of all.
#[derive(Debug)]
struct Sums(ModelSignature);

impl Runtime for Sums {
    fn engine(&self) -> &str {
        "sums"
    }

    fn signature(&self) -> &ModelSignature {
        &self.0
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::row_function().whole_batches()
    }

    fn memory_usage(&self) -> usize {
        0
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> mlops_serve::Result<()> {
        let sum: f32 = inputs[0].values::<f32>()?.iter().sum();
        outputs[0].reset::<f32>([inputs[0].rows(), 1])?.fill(sum);
        Ok(())
    }
}

#[test]
fn requests_change_no_answers_of_others_where_rows_would() {
    let signature = ModelSignature {
        inputs: vec![TensorSpec::batch("x", ElementType::F32, 1)],
        outputs: vec![TensorSpec::batch("y", ElementType::F32, 1)],
    };
    let model = Model::new(ModelVersion::new("shop", 1), Sums(signature)).unwrap();
    // All golden rows at once have to hold too.
    let mut golden = Golden::new(1e-6);
    golden.push(&[Value::Float(1.0)], 1.0);
    golden.check(&model).unwrap();
    golden.push(&[Value::Float(2.0)], 2.0);
    let error = golden.check(&model).unwrap_err().to_string();
    assert!(error.contains("golden row 0 among all others with 3, training gave 1"), "{error}");

    let endpoint = Endpoint::new("shop", SystemClock::new());
    endpoint.deploy(std::sync::Arc::new(model)).unwrap();
    let requests: Vec<Request<'_>> = (0..3).map(|id| RequestId::from_u128(id).into()).collect();
    let rows = [[Value::Float(1.0)], [Value::Float(2.0)], [Value::Float(4.0)]];
    let rows: Vec<&[Value<'_>]> = rows.iter().map(|row| &row[..]).collect();
    let answers = endpoint.score_batch(&requests, &rows).unwrap();
    let scores: Vec<f64> = answers.into_iter().map(|answer| answer.unwrap().score).collect();
    assert_eq!(scores, [1.0, 2.0, 4.0]);
}

/// What was measured, and what was left out.
#[cfg(feature = "tract")]
fn parts(model: &Model) -> (String, String) {
    let text = format!("{:?}", model.runtime());
    let (choices, left_out) = text.split_once("left_out").unwrap();
    (choices.to_owned(), left_out.to_owned())
}
