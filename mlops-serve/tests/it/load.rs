//! From packages to models.

use mlops_core::data::Value;
use mlops_core::evaluation::binary::Scored;
use mlops_core::evaluation::calibration::{Calibration, Isotonic, Platt, Temperature};
use mlops_core::{
    Digest, Dimension, ElementType, Error, ErrorKind, ModelFile, ModelPackage, ModelSignature, TensorSpec,
};
use mlops_serve::endpoint::{Golden, Loader};
use mlops_serve::runtime::FnRuntime;

use crate::models::row;
use crate::shelf::{loader, package};

#[test]
fn golden_rows_are_rows_with_scores() {
    let json = |tolerance: f64, score: Option<f64>| {
        let mut golden = Golden::new(tolerance);
        score.into_iter().for_each(|score| golden.push(&[Value::Float(1.0)], score));
        golden.to_json().map_err(|error| error.to_string())
    };
    assert!(json(0.0, Some(1.0)).is_ok());
    assert_eq!(json(f64::NAN, Some(1.0)).unwrap_err(), "golden rows of tolerance NaN: want 0 or more");
    assert_eq!(json(0.0, Some(f64::NAN)).unwrap_err(), "golden row 0 has the score NaN");
    let error = loader().load(&package(0.5, Some(&Golden::new(0.0)))).unwrap_err();
    assert!(
        format!("{error:#}").contains("`golden.json` has no rows: add some, or leave it out"),
        "{error:#}"
    );
}

#[test]
fn loading_verifies_checks_and_names_what_is_wrong() {
    let mut golden = Golden::new(1e-6);
    golden.push(&[Value::Float(1.5)], 2.0);
    golden.push(&[Value::Integer(1)], 1.5);
    let model = loader().load(&package(0.5, Some(&golden))).unwrap();
    assert_eq!(model.score(&row()).unwrap(), 1.5);

    let message = |package: &ModelPackage| format!("{:#}", loader().load(package).unwrap_err());
    assert_eq!(
        message(&package(0.6, Some(&golden))),
        "shop/4 cannot be loaded: shop/4 scores golden row 0 with 2.0999999046325684, training gave 2 (tolerance 0.000001)"
    );
    let mut damaged = package(0.5, None);
    damaged.files.get_mut("addend").unwrap().1 = ModelFile::Bytes("7".into());
    assert!(message(&damaged).contains("file `addend` of shop/4 is damaged"));
    let mut poisoned = package(0.5, None);
    poisoned.files.insert("addend".into(), (Digest::of("x"), ModelFile::Bytes("x".into())));
    assert!(message(&poisoned).contains("shop/4 panicked"), "{}", message(&poisoned));
    let mut wrong = package(0.5, None);
    wrong.files.insert(Loader::ENCODER_FILE.into(), (Digest::of("{}"), ModelFile::Bytes("{}".into())));
    assert!(message(&wrong).contains("no encoder"), "{}", message(&wrong));
    let head = r#"{"output":"score","column":3}"#;
    wrong.files.remove(Loader::ENCODER_FILE);
    wrong.files.insert(Loader::HEAD_FILE.into(), (Digest::of(head), ModelFile::Bytes(head.into())));
    assert!(
        message(&wrong).contains("column 3, output score: f32[batch, 1] has 1, counted from 0"),
        "{}",
        message(&wrong)
    );
}

/// A loader of a closure that gives `columns` numbers a row, or fails so.
fn wide(columns: usize, fails: Option<fn() -> Error>) -> Loader {
    Loader::new(move |_| {
        let signature = ModelSignature {
            inputs: vec![TensorSpec::batch("features", ElementType::F32, 1)],
            outputs: vec![TensorSpec {
                name: "score".into(),
                element: ElementType::F32,
                shape: ["batch", "columns"].map(|axis| Dimension::Symbol(axis.into())).into(),
            }],
        };
        Ok(Box::new(FnRuntime::new("wide", signature, move |inputs, outputs| {
            if let (Some(fails), [0.0, ..]) = (fails, inputs[0].values::<f32>()?) {
                return Err(fails());
            }
            outputs[0].reset::<f32>([inputs[0].rows(), columns])?.fill(0.25);
            Ok(())
        })?))
    })
}

#[test]
fn a_model_that_could_never_answer_is_not_loaded() {
    let bare =
        |package: ModelPackage| ModelPackage::new(package.id, ModelSignature::default(), package.files);
    let refused = |loader: &Loader, package: &ModelPackage, part: &str| {
        let error = loader.load(package).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");
        assert!(format!("{error:#}").contains(part), "{error:#}");
    };
    let mut plain = bare(package(0.5, None));
    let mut golden = Golden::new(0.0);
    golden.push(&row(), 0.25);
    let proved = bare(package(0.5, Some(&golden)));
    refused(&wide(3, None), &plain, "say which column is the score in `head.json`");
    assert!(wide(3, None).without_score().load(&plain).is_ok());
    assert!(wide(2, None).load(&proved).is_ok());
    // A model may refuse zeros. One that fails on them must show that it answers others.
    assert!(wide(1, Some(|| Error::invalid("no zeros, please"))).load(&plain).is_ok());
    let fails: Option<fn() -> Error> = Some(|| Error::data("divided by zero"));
    refused(&wide(1, fails), &plain, "divided by zero");
    assert!(wide(1, fails).load(&proved).is_ok());
    // A column that the signature leaves open.
    let head = |column: usize| format!(r#"{{"output":"score","column":{column}}}"#);
    let mut load = |column| {
        let head = head(column);
        plain.files.insert(Loader::HEAD_FILE.into(), (Digest::of(&head), ModelFile::Bytes(head.into())));
        wide(3, None).load(&plain)
    };
    assert_eq!(load(2).unwrap().score(&row()).unwrap(), 0.25);
    assert_eq!(load(9).unwrap_err().kind(), ErrorKind::Invalid);

    let mut other = package(0.5, None);
    other.signature.inputs = vec![TensorSpec::batch("other", ElementType::F32, 7)];
    refused(&loader(), &other, "the package declares (other: f32[batch, 7])");
    other.signature = package(0.5, None).signature;
    other.signature.outputs[0].element = ElementType::F64;
    refused(&loader(), &other, "register the model's signature, or none");
    other.signature = ModelSignature::default();
    assert!(loader().load(&other).is_ok());
}

#[test]
fn a_package_brings_the_calibration_that_training_fitted() {
    let mut package = package(0.5, None);
    let mut add = |text: String| {
        let file = (Digest::of(&text), ModelFile::Bytes(text.into()));
        package.files.insert(Loader::CALIBRATION_FILE.into(), file);
        loader().load(&package)
    };
    let labels = [false, true, false, true, true, false];
    let scores = [0.6, 0.9, 1.1, 1.4, 1.9, 2.1];
    let rows = Scored::new(&labels, &scores).unwrap();
    let turned: Vec<f64> = scores.iter().map(|score| -score).collect();
    let falling = Platt::fit(&Scored::new(&labels, &turned).unwrap()).unwrap();
    assert!(falling.slope < 0.0);
    for fitted in [
        Calibration::from(Isotonic::fit(&rows).unwrap()),
        Platt::fit(&rows).unwrap().into(),
        falling.into(),
        Temperature::new(1.5).unwrap().into(),
    ] {
        let model = add(serde_json::to_string(&fitted).unwrap()).unwrap();
        assert_eq!(model.calibration(), Some(&fitted));
        for x in [0.0, 0.4, 0.6, 0.9, 1.5] {
            let raw = f64::from(x as f32 + 0.5);
            assert_eq!(
                model.score(&[Value::Float(x)]).unwrap(),
                fitted.probability(raw),
                "{fitted:?} at {x}"
            );
        }
    }

    let model = add(r#"{"isotonic":{"knots":[[0.0,0.0],[3.0,1.0]]}}"#.into()).unwrap();
    assert_eq!(model.score(&row()).unwrap(), 0.5, "an older form");
    let error = add(r#"{"temperature":{"temperature":0}}"#.into()).unwrap_err();
    assert!(format!("{error:#}").contains("temperature is 0"), "{error:#}");
}

#[cfg(feature = "native")]
#[test]
fn files_are_told_by_their_content_and_the_model_among_others_by_its_name() {
    use mlops_core::{ModelVersion, SystemClock};
    use mlops_serve::endpoint::Model;

    use crate::golden::{bytes, file};

    let version = || ModelVersion::new("shop", 1);
    for (name, engine) in [
        ("lightgbm_regressor.onnx", "native"),
        ("lightgbm_regressor.txt", "native"),
        ("xgboost_regressor.json", "native"),
    ] {
        let model = Model::from_file(version(), file(name)).unwrap();
        assert_eq!(model.runtime().engine(), engine);
        let row = vec![Value::Float(0.5); model.row_width().unwrap()];
        let want = model.score(&row).unwrap();

        let mut files = std::collections::BTreeMap::new();
        let mut add = |name: &str, bytes: bytes::Bytes| {
            files.insert(name.to_owned(), (Digest::of(&bytes), ModelFile::Bytes(bytes)));
        };
        add(name, bytes(name));
        add("README.md", bytes::Bytes::from_static(b"a model"));
        add(Loader::THRESHOLD_FILE, bytes::Bytes::from_static(b"0.5"));
        let mut package = ModelPackage::new(version(), ModelSignature::default(), files);
        let loader = Loader::auto(SystemClock::new());
        assert_eq!(loader.load(&package).unwrap().score(&row).unwrap(), want, "{name}");

        let twice = package.files[name].clone();
        package.files.insert(format!("again-{name}"), twice);
        let error = format!("{:#}", loader.load(&package).unwrap_err());
        assert!(error.contains("2 files of shop/1 may be the model"), "{error}");
        assert!(error.contains(&format!("`again-{name}`")) && !error.contains("README"), "{error}");
        package.files.retain(|file, _| !file.ends_with(name));
        let error = format!("{:#}", loader.load(&package).unwrap_err());
        assert!(
            error.contains("no file of shop/1 is the model in full precision, among `README.md`"),
            "{error}"
        );
        package.files.clear();
        let error = format!("{:#}", loader.load(&package).unwrap_err());
        assert!(error.contains("shop/1 has no files"), "{error}");
    }
    assert_eq!(Model::from_file(version(), "/nowhere").unwrap_err().kind(), ErrorKind::NotFound);
    for bad in [&b""[..], b"tree\n\xff", b"{}", b"{\"learner\": 1}", b"onnx"] {
        let error = Model::from_bytes(version(), &bytes::Bytes::copy_from_slice(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error:#}");
    }
}
