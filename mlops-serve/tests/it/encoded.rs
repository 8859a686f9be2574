//! Models of several inputs behind one encoder: the towers and DLRM of `testdata/serve`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema, Value};
use mlops_core::features::{Encoder, EncoderSpec, Transform};
use mlops_core::pipeline::{Pipeline, Request, Runner};
use mlops_core::{
    Digest, ElementType, ErrorKind, ModelFile, ModelPackage, ModelSignature, ModelVersion, Result,
    SystemClock, TensorSpec,
};
use mlops_serve::endpoint::{Endpoint, Golden, Loader, Model};
use mlops_serve::runtime::{FnRuntime, NativeRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::{TensorBuf, TensorView};

use crate::golden::{bytes, golden, inputs};
use crate::models::id;

const HASH_BUCKETS: u32 = 39;

/// A model, the rows that callers send, how they are encoded, and the tensors that mean the same.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    rows: Dataset,
    spec: EncoderSpec,
    tensors: Vec<TensorBuf>,
}

enum Cells {
    Floats(Vec<f64>),
    Whole(Vec<i64>),
    Texts(Vec<String>),
}

fn dataset(columns: Vec<(String, Cells)>) -> Dataset {
    let column = |(name, cells): &(String, Cells)| {
        let kind = match cells {
            Cells::Floats(_) => ColumnKind::Float,
            Cells::Whole(_) => ColumnKind::Integer,
            Cells::Texts(_) => ColumnKind::Text,
        };
        Column::new(name.clone(), kind)
    };
    let schema = TableSchema::new(columns.iter().map(column)).unwrap();
    let array = |(_, cells): (String, Cells)| match cells {
        Cells::Floats(cells) => Arc::new(Float64Array::from(cells)) as ArrayRef,
        Cells::Whole(cells) => Arc::new(Int64Array::from(cells)),
        Cells::Texts(cells) => Arc::new(StringArray::from(cells)),
    };
    let batch = RecordBatch::try_new(schema.to_arrow(), columns.into_iter().map(array).collect()).unwrap();
    Dataset::new(schema, [batch]).unwrap()
}

/// One column for each number of a golden input, and their names.
fn float_columns(name: &str, input: &str) -> (Vec<(String, Cells)>, Vec<String>) {
    let golden = golden(name);
    let tensor = golden.inputs.iter().find(|tensor| tensor.name == input).unwrap();
    let (width, numbers) = (tensor.shape[1], tensor.numbers());
    let names: Vec<String> = (0..width).map(|place| format!("{input}{place}")).collect();
    let cells = |place| Cells::Floats(numbers.iter().skip(place).step_by(width).copied().collect());
    (names.iter().cloned().enumerate().map(|(place, name)| (name, cells(place))).collect(), names)
}

fn ids(name: &str, input: &str) -> Vec<i64> {
    let golden = golden(name);
    let tensor = golden.inputs.iter().find(|tensor| tensor.name == input).unwrap();
    tensor.data.iter().map(|id| id.as_i64().unwrap()).collect()
}

/// By hand: the most frequent first, then in the order of their texts.
fn ranks(texts: &[String]) -> Vec<i64> {
    let mut counts = BTreeMap::<&String, usize>::new();
    texts.iter().for_each(|text| *counts.entry(text).or_default() += 1);
    let mut ranked: Vec<_> = counts.into_iter().collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rank = |text| ranked.iter().position(|(known, _)| *known == text).unwrap() as i64;
    texts.iter().map(rank).collect()
}

/// By hand: FNV-1a and its final mix.
fn bucket(text: &str) -> i64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    ((mixed ^ (mixed >> 33)) % u64::from(HASH_BUCKETS)) as i64
}

fn index_buffer(shape: &[usize], ids: &[i64]) -> TensorBuf {
    let mut buffer = TensorBuf::new(ElementType::I64);
    buffer.reset::<i64>(shape).unwrap().copy_from_slice(ids);
    buffer
}

fn passthrough(names: &[String]) -> Vec<(&str, Transform)> {
    names.iter().map(|name| (name.as_str(), Transform::passthrough())).collect()
}

/// Users by the vocabulary of their names, items by their own number; in another order than the model's.
pub(crate) fn two_tower() -> Case {
    let name = "two_tower";
    let (mut columns, names) = float_columns(name, "context");
    let users: Vec<String> = ids(name, "user_id").iter().map(|id| format!("user-{id}")).collect();
    let items = ids(name, "item_id");
    let native = NativeRuntime::from_onnx(&bytes("two_tower.onnx")).unwrap();
    let mut tensors = inputs(name, &native);
    tensors[0] = index_buffer(&[users.len()], &ranks(&users));
    columns.insert(0, ("item".into(), Cells::Whole(items)));
    columns.push(("user".into(), Cells::Texts(users)));
    let spec = EncoderSpec::default()
        .floats("context", passthrough(&names))
        .indices("item_id", [("item", Transform::passthrough())])
        .indices("user_id", [("user", Transform::Vocabulary { categories_max: 90 })]);
    Case { name, rows: dataset(columns), spec, tensors }
}

/// Ids as they are, by a vocabulary, and by their hash.
pub(crate) fn dlrm() -> Case {
    let name = "dlrm";
    let (mut columns, names) = float_columns(name, "dense");
    let texts =
        |input, what| -> Vec<String> { ids(name, input).iter().map(|id| format!("{what}-{id}")).collect() };
    let (shops, brands) = (texts("id2", "shop"), texts("id3", "brand"));
    let native = NativeRuntime::from_onnx(&bytes("dlrm.onnx")).unwrap();
    let mut tensors = inputs(name, &native);
    let shape = [shops.len(), 1];
    tensors[2] = index_buffer(&shape, &ranks(&shops));
    tensors[3] = index_buffer(&shape, &brands.iter().map(|brand| bucket(brand)).collect::<Vec<_>>());
    columns.push(("brand".into(), Cells::Texts(brands)));
    columns.push(("item".into(), Cells::Whole(ids(name, "id1"))));
    columns.push(("shop".into(), Cells::Texts(shops)));
    let spec = EncoderSpec::default()
        .indices("id3", [("brand", Transform::Hash { buckets: HASH_BUCKETS })])
        .indices("id1", [("item", Transform::passthrough())])
        .indices("id2", [("shop", Transform::Vocabulary { categories_max: 38 })])
        .floats("dense", passthrough(&names));
    Case { name, rows: dataset(columns), spec, tensors }
}

impl Case {
    pub(crate) fn encoder(&self) -> Encoder {
        Encoder::fit(&self.spec, &self.rows).unwrap()
    }

    pub(crate) fn with_rows<T>(&self, f: impl FnOnce(&[&[Value<'_>]]) -> T) -> T {
        let batch = &self.rows.batches()[0];
        let cell = |column: usize, row: usize| {
            let array = batch.column(column).as_any();
            if let Some(floats) = array.downcast_ref::<Float64Array>() {
                return Value::Float(floats.value(row));
            }
            match array.downcast_ref::<Int64Array>() {
                Some(whole) => Value::Integer(whole.value(row)),
                None => Value::Text(array.downcast_ref::<StringArray>().unwrap().value(row)),
            }
        };
        let row = |row| (0..batch.num_columns()).map(|column| cell(column, row)).collect::<Vec<_>>();
        let rows: Vec<_> = (0..batch.num_rows()).map(row).collect();
        f(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// The scores of the tensors that were made by hand.
    fn scores(&self, runtime: &dyn Runtime) -> Vec<f64> {
        let views: Vec<TensorView<'_>> = self.tensors.iter().map(TensorBuf::view).collect();
        let scores = runtime.predict(&views).unwrap();
        scores[0].view().values::<f32>().unwrap().iter().map(|score| f64::from(*score)).collect()
    }

    fn check(&self, runtime: &Arc<dyn Runtime>) {
        let want = self.scores(&**runtime);
        let model = Model::from_arc(ModelVersion::new("shop", 1), Arc::clone(runtime)).unwrap();
        let model = Arc::new(model.with_encoder(self.encoder()).unwrap());
        let endpoint = Endpoint::new("shop", SystemClock::new());
        endpoint.deploy(Arc::clone(&model)).unwrap();
        self.with_rows(|rows| {
            let mut scores = Vec::new();
            endpoint.score_rows(id(0), rows, &mut scores).unwrap();
            assert_eq!(scores, want, "{} on {}", self.name, runtime.engine());
            for (row, want) in rows.iter().zip(&want) {
                let score = endpoint.score(id(1), row).unwrap().score;
                assert!((score - want).abs() < 1e-6, "{score} alone, {want} among others");
            }
        });
    }
}

#[test]
fn an_encoder_feeds_each_input_as_by_hand() {
    for case in [two_tower(), dlrm()] {
        let model = bytes(&format!("{}.onnx", case.name));
        let native: Arc<dyn Runtime> = Arc::new(NativeRuntime::from_onnx(&model).unwrap());
        case.check(&native);
        #[cfg(feature = "ort")]
        if let Some(library) = crate::ort::library() {
            use mlops_serve::runtime::{OrtOptions, OrtRuntime};

            let ort = OrtRuntime::from_bytes(&library, &model, &OrtOptions::default()).unwrap();
            case.check(&(Arc::new(ort) as Arc<dyn Runtime>));
        }
    }
}

#[test]
fn ids_as_they_are_give_the_golden_scores() {
    let Case { name, rows, .. } = two_tower();
    let (_, names) = float_columns(name, "context");
    let users = ("user".to_owned(), Cells::Whole(ids(name, "user_id")));
    let items = ("item".to_owned(), Cells::Whole(ids(name, "item_id")));
    let mut columns = float_columns(name, "context").0;
    columns.extend([users, items]);
    let spec = EncoderSpec::default()
        .indices("user_id", [("user", Transform::passthrough())])
        .indices("item_id", [("item", Transform::passthrough())])
        .floats("context", passthrough(&names));
    let case = Case { name, rows: dataset(columns), spec, tensors: Vec::new() };
    let model =
        Model::new(ModelVersion::new("shop", 1), NativeRuntime::from_onnx(&bytes("two_tower.onnx")).unwrap());
    let model = model.unwrap().with_encoder(case.encoder()).unwrap();
    let want = golden(name).outputs[0].numbers();
    let mut scores = Vec::new();
    case.with_rows(|rows| model.score_rows(rows, &mut scores)).unwrap();
    assert_eq!(scores.len(), rows.rows());
    for (got, want) in scores.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{got} {want}");
    }
}

/// Fits in a pipeline, saves with the model, loads as a service does.
#[test]
fn what_a_pipeline_fits_is_what_an_endpoint_runs() {
    let case = two_tower();
    let runtime = NativeRuntime::from_onnx(&bytes("two_tower.onnx")).unwrap();
    let mut golden = Golden::new(1e-6);
    case.with_rows(|rows| {
        rows.iter().zip(case.scores(&runtime)).for_each(|(row, score)| golden.push(row, score));
    });

    let mut p = Pipeline::new("shop");
    let spec = p.param("spec", case.spec.clone());
    let rows = case.rows.clone();
    let encoder = p.step("fit", move |spec: &EncoderSpec| Encoder::fit(spec, &rows), spec);
    let packed = p.step("pack", |encoder: &Encoder| encoder.to_json(), encoder);
    let done = Runner::new(SystemClock::new()).run(&p, Request::new("1")).unwrap();

    let mut files = BTreeMap::new();
    let mut add = |name: &str, bytes: bytes::Bytes| {
        files.insert(name.to_owned(), (Digest::of(&bytes), ModelFile::Bytes(bytes)));
    };
    add("model.onnx", bytes("two_tower.onnx"));
    add(Loader::ENCODER_FILE, done.get(packed).unwrap().to_vec().into());
    add(Golden::FILE, golden.to_json().unwrap().into());
    let package = ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), files);
    let model = Loader::auto(SystemClock::new()).load(&package).unwrap();
    assert_eq!(model.encoder(), Some(&*done.get(encoder).unwrap()));
    #[cfg(feature = "ort")]
    if let Some(library) = crate::ort::library() {
        let loader =
            Loader::auto_with_ort(SystemClock::new(), library, mlops_serve::runtime::OrtOptions::default());
        loader.load(&package).unwrap();
    }
    // Somebody whom training never saw: the one row of the table for all of them.
    case.with_rows(|rows| {
        let stranger = |name| {
            let mut row = rows[0].to_vec();
            *row.last_mut().unwrap() = Value::Text(name);
            model.score(&row).unwrap()
        };
        assert_eq!(stranger("eve"), stranger("mallory"));
        assert_ne!(stranger("eve"), model.score(rows[0]).unwrap());
    });
}

fn wants(inputs: Vec<TensorSpec>) -> Model {
    let outputs = vec![TensorSpec::batch("score", ElementType::F32, 1)];
    let runtime = FnRuntime::new("sum", ModelSignature { inputs, outputs }, |inputs, outputs| {
        let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
        let ids = inputs[0].values::<i32>()?;
        scores.iter_mut().zip(ids).for_each(|(score, id)| *score = *id as f32);
        Ok(())
    });
    Model::new(ModelVersion::new("shop", 1), runtime.unwrap()).unwrap()
}

#[test]
fn an_encoder_that_does_not_fit_is_told_which_input_and_why() {
    let case = two_tower();
    let encoder = |spec: EncoderSpec| Encoder::fit(&spec, &case.rows).unwrap();
    let refused = |inputs: &[TensorSpec], spec: EncoderSpec, kind: ErrorKind, want: &str| {
        let error = wants(inputs.to_vec()).with_encoder(encoder(spec)).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, want));
    };
    let user = || [("user", Transform::Vocabulary { categories_max: 9 })];
    let item = || [("item", Transform::passthrough())];
    let ids = TensorSpec::batch("ids", ElementType::I64, 1);
    let dense = TensorSpec::batch("dense", ElementType::F32, 2);
    let both = [ids.clone(), dense.clone()];
    refused(
        &both,
        EncoderSpec::new(item()),
        ErrorKind::Unsupported,
        "shop/1: it takes ids: i64[batch, 1], dense: f32[batch, 2], its encoder makes one matrix of floats: fit it \
         with `EncoderSpec::floats` and `EncoderSpec::indices`, which name the inputs",
    );
    let invalid = |inputs: &[TensorSpec], spec, want| refused(inputs, spec, ErrorKind::Invalid, want);
    invalid(
        &both,
        EncoderSpec::default().indices("ids", user()),
        "shop/1: input dense: f32[batch, 2] is fed by nothing, its encoder feeds `ids`",
    );
    invalid(
        &both,
        EncoderSpec::default().indices("ids", user()).floats("dense", item()),
        "shop/1: input dense: f32[batch, 2] takes 2 features, its encoder makes 1 floats",
    );
    invalid(
        &both[..1],
        EncoderSpec::default().indices("ids", user()).floats("dense", item()),
        "shop/1: its encoder feeds input `dense`, it takes ids: i64[batch, 1]",
    );
    invalid(
        &both[..1],
        EncoderSpec::default().floats("ids", item()),
        "shop/1: input ids: i64[batch, 1] is fed floats by its encoder: fit it with `EncoderSpec::indices` for this \
         input",
    );
    invalid(
        &both[1..],
        EncoderSpec::default().indices("dense", item()),
        "shop/1: input dense: f32[batch, 2] is fed indices by its encoder: fit it with `EncoderSpec::floats` for \
         this input",
    );
    invalid(
        &[TensorSpec::batch("name", ElementType::Text, 1)],
        EncoderSpec::default().indices("name", user()),
        "shop/1: input name: text[batch, 1] is fed indices by its encoder: no encoder makes what it takes",
    );

    // Indices of 32 bits are those of 64, as long as they fit.
    let narrow = wants(vec![TensorSpec::batch("ids", ElementType::I32, 1)]);
    let narrow = narrow.with_encoder(encoder(EncoderSpec::default().indices("ids", item()))).unwrap();
    let score = |item: i64| -> Result<f64> {
        let mut row = vec![Value::Float(0.0); narrow.encoder().unwrap().inputs().len()];
        row[0] = Value::Integer(item);
        *row.last_mut().unwrap() = Value::Missing;
        narrow.score(&row)
    };
    assert_eq!(score(7).unwrap(), 7.0);
    let error = score(1 << 40).unwrap_err();
    assert_eq!(error.to_string(), "feature `item` has index 1099511627776, beyond the 32 bits of its input");
}
