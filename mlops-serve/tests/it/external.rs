//! Models that keep their weights in a file beside them.

use std::collections::BTreeMap;

use bytes::Bytes;
use mlops_core::onnx;
use mlops_core::{Digest, ModelFile, ModelPackage, ModelSignature, ModelVersion, SystemClock};
use mlops_serve::ErrorKind;
use mlops_serve::endpoint::Loader;

use crate::golden::{Tolerance, bytes, check_rows};

/// The tower model with every larger constant in `weights.bin`, as it calls it, behind some bytes of something else.
fn package(location: &str, weights: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> ModelPackage {
    let mut model = onnx::read(&bytes("two_tower.onnx")).unwrap();
    let mut file = vec![7; 13];
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        if tensor.raw_data.len() >= 64 {
            let offset = file.len() as u64;
            file.extend(tensor.take_out(location, offset).unwrap());
        }
    }
    assert!(file.len() > 1000 && model.external_files() == [location]);
    let mut files = BTreeMap::new();
    let mut add = |name: &str, bytes: Bytes| {
        files.insert(name.to_owned(), (Digest::of(&bytes), ModelFile::Bytes(bytes)));
    };
    add("tower/model.onnx", onnx::write(&model));
    if let Some(bytes) = weights(file) {
        add("tower/weights.bin", bytes.into());
    }
    ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), files)
}

const CLOSE: Tolerance = Tolerance { absolute: 1e-6, relative: 0.0 };

fn check(loader: &Loader, engines: &str, together: &Tolerance) {
    for location in ["weights.bin", "./weights.bin"] {
        let model = loader.load(&package(location, Some)).unwrap();
        let text = format!("{:?}", model.runtime());
        assert!(!text.contains("LeftOut") && text.contains(engines), "{text}");
        check_rows("two_tower", model.runtime(), together, &CLOSE);
    }
}

#[test]
fn weights_in_another_file_are_read_from_the_package() {
    let loader = Loader::auto(SystemClock::new()).without_score();
    check(&loader, if cfg!(feature = "tract") { "tract" } else { "plan" }, &CLOSE);

    let missing = loader.load(&package("weights.bin", |_| None)).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Data);
    assert!(missing.to_string().contains("`tower/weights.bin`, which is none of its files"), "{missing}");
    let short = loader.load(&package("weights.bin", |file| Some(file[..500].to_vec()))).unwrap_err();
    assert_eq!(short.kind(), ErrorKind::Data);
    assert!(short.to_string().contains("of `weights.bin`, which has 500 bytes"), "{short}");
}

#[cfg(feature = "ort")]
#[test]
fn onnx_runtime_reads_them_too() {
    use mlops_serve::runtime::OrtOptions;

    let Some(library) = crate::ort::library() else { return };
    let options = OrtOptions::default().sessions(2.try_into().unwrap());
    let loader = Loader::auto_with_ort(SystemClock::new(), library, options).without_score();
    check(&loader, "ort", &CLOSE);
}
