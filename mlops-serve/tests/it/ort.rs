//! ONNX Runtime against its own Python face, and the native runtime against it on models of our own.
//!
//! The library is named by `ORT_DYLIB_PATH`; without it these tests say that they are left out.

use std::num::NonZeroUsize;
use std::sync::Arc;

use mlops_core::Seed;
use mlops_core::onnx::{LinearModel, Link, Tree, TreeEnsemble, TreeNode};
use mlops_serve::ErrorKind;
use mlops_serve::runtime::{NativeRuntime, OrtLibrary, OrtOptions, OrtRuntime, Runtime, RuntimeExt};
use mlops_serve::tensor::TensorView;
use rand::RngExt;

use crate::golden::{EXACT, Tolerance, bytes, check_rows, close, file, wide};

/// The library, or nothing with a word about it.
#[allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "whoever runs the tests names the library"
)]
pub(crate) fn library() -> Option<OrtLibrary> {
    let Ok(path) = std::env::var("ORT_DYLIB_PATH") else {
        // Not by a macro, whose output a passing test keeps to itself.
        let why = "left out: ONNX Runtime, since ORT_DYLIB_PATH is not set (`cargo xtask test` sets it)\n";
        std::io::Write::write_all(&mut std::io::stderr(), why.as_bytes()).unwrap();
        return None;
    };
    Some(OrtLibrary::load(path).unwrap())
}

fn load(library: &OrtLibrary, name: &str) -> OrtRuntime {
    OrtRuntime::from_file(library, file(&format!("{name}.onnx")), &OrtOptions::default()).unwrap()
}

#[test]
fn golden_outputs_of_the_python_face() {
    let Some(library) = library() else { return };
    // A row alone takes other kernels than a batch: the last digits may differ.
    let rounding = Tolerance { absolute: 3e-7, relative: 1e-6 };
    for name in [
        "mlp",
        "two_tower",
        "dlrm",
        "retrieval",
        "logistic_classes",
        "logistic_categories",
        "lightgbm_regressor",
        "lightgbm_classifier",
        "lightgbm_classes",
        "xgboost_regressor",
        "xgboost_classifier",
        "xgboost_classes",
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
        check_rows(name, &load(&library, name), &EXACT, &rounding);
    }
}

#[cfg(feature = "conformance")]
#[test]
fn the_contract_is_kept() {
    let Some(library) = library() else { return };
    for name in ["mlp", "two_tower", "dlrm", "retrieval", "logistic_categories", "lightgbm_classifier"] {
        let model = load(&library, name);
        let inputs = crate::golden::inputs(name, &model);
        let views: Vec<TensorView<'_>> = inputs.iter().map(mlops_serve::tensor::TensorBuf::view).collect();
        mlops_serve::runtime::conformance::check(&model, &views, 1e-5)
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
}

#[test]
fn engines_are_compared_on_golden_rows_of_texts() {
    use mlops_core::data::Value;
    use mlops_core::{Digest, ModelFile, ModelPackage, ModelSignature, ModelVersion, SystemClock};
    use mlops_serve::endpoint::{Golden, Head, Loader};

    let Some(library) = library() else { return };
    let known = crate::golden::golden("logistic_categories");
    let probabilities = known.outputs.iter().find(|output| output.name == "probabilities").unwrap().numbers();
    let mut golden = Golden::new(1e-6);
    for row in 0..probabilities.len() / 2 {
        let cell = |input: &'_ crate::golden::Tensor| match &input.data[row] {
            serde_json::Value::String(text) => Value::Text(text.clone().leak()),
            cell => Value::Float(crate::golden::number(cell)),
        };
        let cells: Vec<Value<'_>> = known.inputs.iter().map(cell).collect();
        golden.push(&cells, probabilities[2 * row]);
    }
    let head = Head { output: "probabilities".into(), column: 0 };
    let files = [
        ("model.onnx", bytes("logistic_categories.onnx")),
        (Golden::FILE, golden.to_json().unwrap().into()),
        (Loader::HEAD_FILE, serde_json::to_vec(&head).unwrap().into()),
    ];
    let files = files.map(|(name, bytes)| (name.to_owned(), (Digest::of(&bytes), ModelFile::Bytes(bytes))));
    let package = ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), files.into());
    let loader = Loader::auto_with_ort(SystemClock::new(), library, OrtOptions::default());
    let model = loader.load(&package).unwrap();
    let text = format!("{:?}", model.runtime());
    assert!(text.contains(r#"("native", "#) && text.contains(r#"("ort", "#), "both were measured: {text}");
}

#[test]
fn calls_share_a_pool() {
    let Some(library) = library() else { return };
    let two = OrtOptions::default().sessions(NonZeroUsize::new(2).unwrap());
    let model = Arc::new(OrtRuntime::from_bytes(&library, &bytes("mlp.onnx"), &two).unwrap());
    assert_eq!(model.capabilities().parallel_calls, NonZeroUsize::new(2));
    assert!(model.engine().starts_with("onnxruntime"), "{}", model.engine());
    let features = vec![0.5_f32; 64 * 20];
    let want = model.predict(&[TensorView::new(&features[..64], [1, 64]).unwrap()]).unwrap();
    let want = want[0].view().values::<f32>().unwrap()[0];
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (model, features) = (&model, &features);
            scope.spawn(move || {
                let mut outputs = model.outputs();
                // More batch sizes than a session keeps tensors for.
                for call in 0..200 {
                    let rows = (call * 7 + thread) % 20 + 1;
                    let view = TensorView::new(&features[..64 * rows], [rows, 64]).unwrap();
                    model.run(&[view], &mut outputs).unwrap();
                    let scores = outputs[0].view().values::<f32>().unwrap();
                    assert_eq!(scores.len(), rows);
                    assert!(scores.iter().all(|score| (score - want).abs() < 1e-6));
                }
            });
        }
    });
}

#[test]
fn what_is_wrong_is_an_error() {
    let Some(library) = library() else { return };
    let options = OrtOptions::default();
    let error = OrtRuntime::from_bytes(&library, b"no model", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error:#}");
    let error = OrtRuntime::from_file(&library, "/nowhere/model.onnx", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = OrtRuntime::from_bytes(&library, &bytes("zipmap.onnx"), &options).unwrap_err();
    assert!(error.to_string().contains("zipmap=False"), "{error}");
    let wanted = OrtOptions::default().outputs(["nothing"]);
    let error = OrtRuntime::from_bytes(&library, &bytes("mlp.onnx"), &wanted).unwrap_err();
    assert_eq!(error.to_string(), "no output `nothing`: the model gives mlp_2_y");

    let model = load(&library, "two_tower");
    let (ids, context) = ([1_i64, 5000], [0.0_f32; 16]);
    let ids = TensorView::new(&ids, [2]).unwrap();
    let context = TensorView::new(&context, [2, 8]).unwrap();
    for _ in 0..2 {
        let error = model.predict(&[ids, context, ids]).unwrap_err();
        assert!(format!("{error:#}").contains("indices element out of data bounds"), "{error:#}");
    }
    let good = [1_i64, 2];
    let good = TensorView::new(&good, [2]).unwrap();
    assert!(model.predict(&[good, context, good]).is_ok(), "an error spoils nothing");
    let error = model.predict(&[ids, ids, ids]).unwrap_err();
    assert_eq!(error.to_string(), "input `context` wants f32[batch, 8], got i64[2]");
}

#[test]
fn a_first_library_stays() {
    let Some(_) = library() else { return };
    assert!(OrtLibrary::load("/nowhere/else").is_ok(), "a process loads one library");
}

/// Random trees with all that the format of ours has: NaN on either side or on a branch of its own.
fn trees(seed: u64, count: usize, features: usize, depth: u32) -> TreeEnsemble {
    fn grow(rng: &mut impl rand::Rng, nodes: &mut Vec<TreeNode>, features: usize, depth: u32) -> usize {
        let place = nodes.len();
        nodes.push(TreeNode::Leaf { value: rng.random_range(-0.5..0.5) });
        if depth > 0 && rng.random_bool(0.85) {
            let below = grow(rng, nodes, features, depth - 1);
            let not_below = grow(rng, nodes, features, depth - 1);
            let missing = match rng.random_range(0..5) {
                0 => grow(rng, nodes, features, depth - 1),
                1 | 2 => below,
                _ => not_below,
            };
            let feature = rng.random_range(0..features);
            let threshold = f64::from(rng.random_range(-8_i32..8)) / 3.0;
            nodes[place] = TreeNode::Split { feature, threshold, below, not_below, missing };
        }
        place
    }
    let mut rng = Seed::new(seed).rng();
    let trees = (0..count).map(|_| {
        let mut nodes = Vec::new();
        grow(&mut rng, &mut nodes, features, depth);
        Tree::new(nodes)
    });
    TreeEnsemble::new(features, trees.collect()).base_score(0.125)
}

fn rows(seed: u64, rows: usize, features: usize) -> Vec<f32> {
    let mut rng = Seed::new(seed).rng();
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0, f32::MAX];
    let value = |rng: &mut rand_chacha::ChaCha8Rng| match rng.random_range(0..10) {
        0 => special[rng.random_range(0..special.len())],
        1 => (f64::from(rng.random_range(-8_i32..8)) / 3.0) as f32,
        _ => rng.random_range(-3.0..3.0),
    };
    (0..rows * features).map(|_| value(&mut rng)).collect()
}

#[test]
fn our_trees_are_bit_identical_in_both() {
    let Some(library) = library() else { return };
    for (seed, (count, depth)) in (1..).zip([(1, 0), (1, 3), (50, 5), (130, 6), (20, 9)]) {
        let ensemble = trees(seed, count, 7, depth);
        let bytes = ensemble.to_bytes().unwrap();
        let native = NativeRuntime::from_onnx(&bytes).unwrap();
        let ort = OrtRuntime::from_bytes(&library, &bytes, &OrtOptions::default()).unwrap();
        let values = rows(seed, 300, 7);
        for (from, to) in [(0, 1), (1, 9), (9, 300)] {
            let view = TensorView::new(&values, [300, 7]).unwrap().slice_rows(from..to).unwrap();
            let (a, b) = (native.predict(&[view]).unwrap(), ort.predict(&[view]).unwrap());
            assert_eq!(a[0].view().values::<f32>().unwrap(), b[0].view().values::<f32>().unwrap(), "{seed}");
        }
        let native = native.predict(&[TensorView::new(&values, [300, 7]).unwrap()]).unwrap();
        for (row, got) in values.chunks_exact(7).zip(native[0].view().values::<f32>().unwrap()) {
            let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
            assert!((ensemble.score(&row) - f64::from(*got)).abs() < 1e-5, "{row:?}");
        }
    }
}

#[test]
fn our_probabilities_agree_to_the_approximation_of_onnx_runtime() {
    let Some(library) = library() else { return };
    let ensemble = trees(9, 40, 7, 5).link(Link::Logistic).to_bytes().unwrap();
    let linear = LinearModel::new(vec![0.5, -1.0, 2.0, 0.0, 1e-3, -3.0, 7.0], -4.0).link(Link::Logistic);
    for bytes in [ensemble, linear.to_bytes().unwrap()] {
        let values: Vec<f32> = rows(9, 64, 7).iter().map(|x| if x.is_finite() { *x } else { 1.0 }).collect();
        let view = TensorView::new(&values, [64, 7]).unwrap();
        let native = NativeRuntime::from_onnx(&bytes).unwrap().predict(&[view]).unwrap();
        let ort = OrtRuntime::from_bytes(&library, &bytes, &OrtOptions::default()).unwrap();
        let ort = ort.predict(&[view]).unwrap();
        let tolerance = Tolerance { absolute: 1.2e-7, relative: 1e-6 };
        close("probabilities", &wide(&ort[0].view()), &wide(&native[0].view()), &tolerance);
    }
}

#[test]
fn a_provider_that_is_not_there_is_an_error_unless_the_cpu_will_do() {
    let Some(library) = library() else { return };
    let options = OrtOptions::default().providers([ort::ep::CUDA::default().build()]);
    let load = |options: &OrtOptions| OrtRuntime::from_bytes(&library, &bytes("mlp.onnx"), options);
    let error = load(&options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("by CUDAExecutionProvider here"), "{error}");
    let fallen_back = load(&options.fallback_to_cpu()).unwrap();
    assert!(fallen_back.engine().ends_with(" on CPU"), "{}", fallen_back.engine());
    let there = load(&OrtOptions::default().providers([ort::ep::CPU::default().build()])).unwrap();
    assert!(there.engine().ends_with(" on CPUExecutionProvider, CPU"), "{}", there.engine());
}

/// Of the process that [`a_library_of_something_else_or_too_old_is_refused`] starts: one that has loaded none yet.
const CHILD: &str = "MLOPS_TEST_ORT_REFUSES";

#[test]
#[allow(clippy::disallowed_methods, reason = "the process is told what to load, and says what came of it")]
fn a_library_of_something_else_or_too_old_is_refused() {
    use std::io::Write;
    use std::process::Command;

    if let Ok(path) = std::env::var(CHILD) {
        let error = OrtLibrary::load(&path).unwrap_err();
        // Refused again, and still none is loaded.
        assert_eq!(OrtLibrary::load(&path).unwrap_err().kind(), error.kind());
        writeln!(std::io::stdout(), "refused: {:?} {error}", error.kind()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, "no library").unwrap();
    let mut refused = vec![text.clone()];
    // What this process itself is linked to.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let foreign = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    refused.extend(foreign.filter(|path| path.contains("libc.so")).map(Into::into).next());
    refused.extend(std::env::var("ORT_OLD_DYLIB_PATH").ok().map(Into::into));
    for path in refused {
        let name = "ort::a_library_of_something_else_or_too_old_is_refused";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success(),
            "{}: {said}{}",
            path.display(),
            String::from_utf8_lossy(&child.stderr)
        );
        assert!(said.contains("refused: Unsupported"), "{}: {said}", path.display());
        assert!(said.contains("get a library of version 1.18 or later"), "{said}");
    }
}
