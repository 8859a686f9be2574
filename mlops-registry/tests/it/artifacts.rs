//! Files in and out: streamed, checked, resumed, refused.

use std::fs;

use mlops_core::{Digest, ErrorKind, ModelFile};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, Format, NewVersion};

use crate::support::{open, tree};

/// More than two parts of a multi-part upload, and no whole number of them.
const BIG: usize = (17 << 20) + 3;

fn big() -> Vec<u8> {
    (0..BIG).map(|index| (index % 251) as u8).collect()
}

#[test]
fn a_folder_goes_in_and_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir_all(source.join("deep/er")).unwrap();
    fs::write(source.join("empty"), "").unwrap();
    fs::write(source.join("deep/größe.json"), "{}").unwrap();
    fs::write(source.join("deep/er/big.bin"), big()).unwrap();
    let registry = open(&folder.path().join("registry"));
    let version = NewVersion::new("shop").folder(&source).unwrap();
    let id = registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    let out = folder.path().join("out");
    registry.fetch_to(&id, &out).unwrap();
    assert_eq!(tree(&out), tree(&source));
    assert_eq!(fs::read(out.join("deep/er/big.bin")).unwrap(), big());
    let state = registry.snapshot();
    let files = &state.version(&id).unwrap().record.files;
    assert_eq!(files["deep/größe.json"].format, Format::Json);
    assert_eq!(files["deep/er/big.bin"].size_bytes, BIG as u64);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_in_or_out() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir_all(&source).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", source.join("link")).unwrap();
    let error = NewVersion::new("shop").folder(&source).unwrap_err();
    assert!(error.to_string().contains("it is a link"), "{error}");

    let registry = Registry::open("memory:").unwrap();
    let version = NewVersion::new("shop").file("a/b", "x").file("c", "x");
    let id = registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    let (out, outside) = (folder.path().join("out"), folder.path().join("outside"));
    fs::create_dir_all(&out).unwrap();
    fs::create_dir_all(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, out.join("a")).unwrap();
    assert!(registry.fetch_to(&id, &out).unwrap_err().to_string().contains("is a link"));
    assert!(tree(&outside).is_empty());
}

#[test]
fn pickles_are_refused_unless_asked_for() {
    let registry = Registry::open("memory:").unwrap();
    let version = || NewVersion::new("shop").file("model.onnx", &b"\x80\x04\x95\0\0\0\0\0\0\0\0N."[..]);
    let error = registry.commit(Draft::new("t", "x").register(version())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`model.onnx` is a pickle"), "{error}");
    registry.commit(Draft::new("t", "x").register(version().allow_pickle())).unwrap();
}

#[test]
fn external_data_of_onnx_models_has_to_be_in_the_version() {
    let registry = Registry::open("memory:").unwrap();
    let model = |location: &str| {
        let field = |tag: u8, body: &[u8]| [&[tag, body.len() as u8], body].concat();
        let entry = [field(0x0a, b"location"), field(0x12, location.as_bytes())].concat();
        let tensor = field(0x6a, &entry);
        [vec![0x08, 8, 0x12, 1, b'x'], field(0x3a, &field(0x2a, &tensor))].concat()
    };
    let version = |location: &str| NewVersion::new("shop").file("onnx/model.onnx", model(location));
    let commit = |version| registry.commit(Draft::new("t", "x").register(version));
    for outside in ["../secret", "/etc/passwd", "a\\..\\b", ""] {
        let error = commit(version(outside)).unwrap_err();
        assert!(error.to_string().contains("reaches for data outside its folder"), "{error}");
    }
    let error = commit(version("weights.bin")).unwrap_err();
    assert!(error.to_string().contains("keeps data in `onnx/weights.bin`: add that file"), "{error}");
    commit(version("weights.bin").file("onnx/weights.bin", "w")).unwrap();
}

#[test]
fn downloads_go_on_where_they_ended() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("registry"));
    let version = NewVersion::new("shop").file("big.bin", big());
    let id = registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    let out = folder.path().join("out");
    fs::create_dir_all(&out).unwrap();
    for (part, whole) in [(&big()[..1 << 20], true), (&vec![7; 1 << 20], false)] {
        fs::write(out.join("big.bin.part"), part).unwrap();
        let result = registry.fetch_to(&id, &out);
        assert_eq!(result.is_ok(), whole);
        assert_eq!(out.join("big.bin").exists(), whole, "what does not match its digest is never shown");
        // A part that cannot be continued is thrown away, so the next try succeeds.
        registry.fetch_to(&id, &out).unwrap();
        assert_eq!(fs::read(out.join("big.bin")).unwrap(), big());
        assert_eq!(tree(&out), ["big.bin"]);
        fs::remove_file(out.join("big.bin")).unwrap();
    }
}

#[test]
fn an_upload_that_was_finished_before_a_kill_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let version = || NewVersion::new("shop").file("big.bin", big());
    registry.commit(Draft::new("t", "x").register(version())).unwrap();
    // As if the kill had come between the upload and the commit.
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    let again = open(folder.path());
    assert_eq!(again.snapshot().sequence(), 0);
    let id = again.commit(Draft::new("t", "x").register(version())).unwrap().version().unwrap().clone();
    let blobs = tree(&folder.path().join("blob"));
    assert_eq!(blobs.len(), 1, "{blobs:?}");
    assert_eq!(again.read(&id, "big.bin").unwrap(), big());
}

#[test]
fn the_cache_is_bounded_shared_and_trusts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (root, cache) = (folder.path().join("registry"), folder.path().join("cache"));
    let with_cache = || {
        let builder = mlops_registry::Registry::builder().cache(&cache, 2500);
        Registry::open_with(builder, root.to_str().unwrap()).unwrap()
    };
    let (one, two) = (with_cache(), with_cache());
    let ids: Vec<_> = [b'a', b'b', b'c']
        .iter()
        .map(|&byte| {
            let version = NewVersion::new("shop").file("model.bin", vec![byte; 1000]);
            one.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone()
        })
        .collect();
    let path_of = |package: &mlops_core::ModelPackage| match &package.files["model.bin"].1 {
        ModelFile::Path(path) => path.clone(),
        other => panic!("{other:?}"),
    };
    let first = path_of(&one.fetch(&ids[0]).unwrap());
    assert_eq!(path_of(&two.fetch(&ids[0]).unwrap()), first);
    fs::write(&first, vec![b'x'; 1000]).unwrap();
    assert_eq!(one.fetch(&ids[0]).unwrap().read("model.bin").unwrap(), vec![b'a'; 1000]);
    for id in &ids[1..] {
        std::thread::sleep(std::time::Duration::from_millis(20));
        two.fetch(id).unwrap();
    }
    let kept = tree(&cache);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(!first.exists(), "the one that was not used for longest is gone");
    assert!(kept.contains(&Digest::of(vec![b'c'; 1000]).to_string()));
}
