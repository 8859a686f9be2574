//! Files in and out: streamed, checked, resumed, refused.

use std::fs;

use mlops_core::{Digest, ErrorKind, ModelFile};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, Format, NewVersion};

use crate::support::{open, tree};

/// More than two parts of a multi-part upload, and no whole number of them.
const BIG: usize = (17 << 20) + 3;

pub(crate) fn big() -> Vec<u8> {
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
    let part = out.join(format!(".mlops-part-{}", Digest::of(big())));
    // The first bytes of the file, others, and too many: what was there is continued or thrown away.
    for bytes in [big()[..1 << 20].to_vec(), vec![7; 1 << 20], vec![7; BIG + 1]] {
        fs::write(&part, bytes).unwrap();
        registry.fetch_to(&id, &out).unwrap();
        assert_eq!(fs::read(out.join("big.bin")).unwrap(), big());
        assert_eq!(tree(&out), ["big.bin"]);
        fs::remove_file(out.join("big.bin")).unwrap();
    }
}

#[test]
fn an_interrupted_fetch_does_not_spoil_that_of_another_version() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("registry"));
    let commit =
        |version| registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    let first = commit(NewVersion::new("shop").file("model.bin", big()).file("m", "1").file("m.part", "2"));
    let mut other = big();
    other[0] = 9;
    let second = commit(NewVersion::new("shop").file("model.bin", other.clone()));
    let out = folder.path().join("out");
    fs::create_dir_all(&out).unwrap();
    let part = format!(".mlops-part-{}", Digest::of(big()));
    fs::write(out.join(&part), &big()[..10 << 20]).unwrap();
    registry.fetch_to(&second, &out).unwrap();
    assert_eq!(fs::read(out.join("model.bin")).unwrap(), other);
    assert_eq!(tree(&out), ["model.bin"], "the part of what nobody fetches any more is gone");
    for _ in 0..2 {
        registry.fetch_to(&first, &out).unwrap();
        assert_eq!(tree(&out), ["m", "m.part", "model.bin"]);
        assert_eq!(fs::read(out.join("m.part")).unwrap(), b"2");
    }
    let error =
        registry.commit(Draft::new("t", "x").register(NewVersion::new("shop").file(part, "x"))).unwrap_err();
    assert!(error.to_string().contains("unfinished downloads are named so"), "{error}");
}

#[test]
fn files_that_are_whole_are_not_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let (root, out) = (folder.path().join("registry"), folder.path().join("out"));
    let registry = open(&root);
    let version = NewVersion::new("shop").file("a", "first").file("b", "second");
    let id = registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    registry.fetch_to(&id, &out).unwrap();
    fs::remove_file(out.join("b")).unwrap();
    // The blob of the file that is there is not touched: it could not be read.
    fs::remove_dir_all(root.join("blob").join(Digest::of("first").to_string())).unwrap();
    registry.fetch_to(&id, &out).unwrap();
    assert_eq!(fs::read(out.join("b")).unwrap(), b"second");
}

#[cfg(unix)]
#[test]
fn a_part_that_is_a_link_is_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open("memory:").unwrap();
    let version = NewVersion::new("shop").file("model.bin", "weights");
    let id = registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    let (out, outside) = (folder.path().join("out"), folder.path().join("outside"));
    fs::create_dir_all(&out).unwrap();
    fs::write(&outside, "").unwrap();
    let part = out.join(format!(".mlops-part-{}", Digest::of("weights")));
    type Link = fn(&std::path::Path, &std::path::Path) -> std::io::Result<()>;
    let links: [Link; 2] = [|to, at| std::os::unix::fs::symlink(to, at), |to, at| fs::hard_link(to, at)];
    for link in links {
        link(&outside, &part).unwrap();
        let error = registry.fetch_to(&id, &out).unwrap_err();
        assert!(error.to_string().contains("is a link"), "{error}");
        assert_eq!(fs::read(&outside).unwrap(), b"");
        fs::remove_file(&part).unwrap();
    }
}

#[test]
fn many_fetch_into_one_folder_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("registry");
    let registry = open(&root);
    let ids: Vec<_> = [1_u8, 2]
        .iter()
        .map(|byte| {
            let version = NewVersion::new("shop").file("model.bin", vec![*byte; 3 << 20]);
            registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone()
        })
        .collect();
    let out = folder.path().join("out");
    std::thread::scope(|scope| {
        for reader in 0..6 {
            let (root, out, ids) = (&root, &out, &ids);
            scope.spawn(move || {
                let registry = open(root);
                for round in 0..6 {
                    registry.fetch_to(&ids[(reader + round) % 2], out).unwrap();
                    let found = fs::read(out.join("model.bin")).unwrap();
                    assert!(found.len() == 3 << 20 && found.iter().all(|byte| *byte == found[0]), "mixed up");
                }
            });
        }
    });
    registry.fetch_to(&ids[1], &out).unwrap();
    assert_eq!(tree(&out), ["model.bin"]);
}

#[test]
fn files_of_whole_parts_and_of_one_byte_more_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("registry"));
    for size in [(8 << 20) - 1, 8 << 20, (8 << 20) + 1, 16 << 20] {
        let path = folder.path().join("source");
        fs::write(&path, vec![3; size]).unwrap();
        for version in
            [NewVersion::new("disk").file_at("f", &path), NewVersion::new("bytes").file("f", vec![4; size])]
        {
            let receipt = registry.commit(Draft::new("t", "x").register(version)).unwrap();
            assert_eq!(registry.read(receipt.version().unwrap(), "f").unwrap().len(), size);
        }
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
    let package = one.fetch(&ids[0]).unwrap();
    let first = path_of(&package);
    assert_eq!(path_of(&two.fetch(&ids[0]).unwrap()), first);
    fs::write(&first, vec![b'x'; 1000]).unwrap();
    assert_eq!(one.fetch(&ids[0]).unwrap().read("model.bin").unwrap(), vec![b'a'; 1000]);
    for id in &ids[1..] {
        two.fetch(id).unwrap();
    }
    // What one process serves stays, whatever another fetches; what nobody holds goes.
    assert_eq!(package.read("model.bin").unwrap(), vec![b'a'; 1000]);
    let kept = tree(&cache);
    assert!(kept.contains(&Digest::of(vec![b'c'; 1000]).to_string()) && kept.len() == 2, "{kept:?}");
    drop(one);
    two.fetch(&ids[1]).unwrap();
    assert!(!first.exists(), "the one that was not used for longest is gone");
    assert_eq!(tree(&cache).len(), 2);
}

#[test]
fn a_part_that_another_process_gathers_is_not_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let (root, cache) = (folder.path().join("registry"), folder.path().join("cache"));
    let builder = mlops_registry::Registry::builder().cache(&cache, 1000);
    let registry = Registry::open_with(builder, root.to_str().unwrap()).unwrap();
    let part = |of: &str| cache.join(format!(".mlops-part-{}", Digest::of(of)));
    let (busy, left) = (part("busy"), part("left"));
    fs::write(&busy, vec![0; 900]).unwrap();
    fs::write(&left, vec![0; 900]).unwrap();
    let lock = fs::File::open(&busy).unwrap();
    lock.lock().unwrap();
    let version = NewVersion::new("shop").file("model.bin", vec![1; 500]);
    let id = registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    registry.fetch(&id).unwrap();
    assert!(busy.exists() && !left.exists());
}

#[test]
fn the_cache_removes_what_it_made_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let builder = mlops_registry::Registry::builder().cache(folder.path(), 1000);
    let registry = Registry::open_with(builder, "memory:").unwrap();
    let digest = Digest::of("x").to_string();
    let foreign = [
        "app.db".to_owned(),
        ".mlops-partner".to_owned(),
        digest[1..].to_owned(),
        format!("{digest}.bak"),
        digest.to_uppercase(),
        "ä".repeat(40),
    ];
    for name in &foreign {
        fs::write(folder.path().join(name), vec![0; 2000]).unwrap();
    }
    for byte in 1..4 {
        let version = NewVersion::new("shop").file("model.bin", vec![byte; 600]);
        let receipt = registry.commit(Draft::new("t", "x").register(version)).unwrap();
        registry.fetch(receipt.version().unwrap()).unwrap();
    }
    let kept = tree(folder.path());
    assert!(foreign.iter().all(|name| kept.contains(name)), "{kept:?}");
    assert_eq!(kept.len(), foreign.len() + 1, "of its own files the one in use stays: {kept:?}");
}

#[test]
fn two_who_follow_one_model_do_not_take_the_files_from_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let builder = mlops_registry::Registry::builder().cache(folder.path(), 1000);
    let registry = Registry::open_with(builder, "memory:").unwrap();
    let ids: Vec<_> = [1, 2, 3]
        .iter()
        .map(|&byte| {
            let version =
                NewVersion::new("shop").file("model.bin", vec![byte; 800]).file("twin", vec![byte; 800]);
            registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone()
        })
        .collect();
    let first = registry.fetch(&ids[0]).unwrap();
    let second = registry.fetch(&ids[1]).unwrap().clone();
    for (package, byte) in [(&first, 1), (&second, 2)] {
        for name in ["model.bin", "twin"] {
            assert_eq!(package.read(name).unwrap(), vec![byte; 800]);
        }
    }
    assert_eq!(tree(folder.path()).len(), 2);
    drop(first);
    let third = registry.fetch(&ids[2]).unwrap();
    drop(third);
    registry.fetch(&ids[2]).unwrap();
    let digest = |byte: u8| Digest::of(vec![byte; 800]).to_string();
    let mut left = [digest(2), digest(3)];
    left.sort();
    assert_eq!(tree(folder.path()), left, "what somebody has, and what was fetched last");
}

#[test]
fn many_files_go_in_and_out_as_few_do() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("registry"));
    let mut version = NewVersion::new("shop").file("big-1", big()).file("big-2", [big(), big()].concat());
    for number in 0..60 {
        // Some have the same bytes.
        version = version.file(format!("part/{number}"), format!("content {}", number / 2));
    }
    let id = registry.commit(Draft::new("t", "x").register(version)).unwrap().version().unwrap().clone();
    assert_eq!(tree(&folder.path().join("registry/blob")).len(), 32, "the same bytes are stored once");
    let out = folder.path().join("out");
    registry.fetch_to(&id, &out).unwrap();
    let package = registry.fetch(&id).unwrap();
    assert_eq!(tree(&out).len(), 62);
    for (name, (digest, _)) in &package.files {
        let bytes = package.read(name).unwrap();
        assert_eq!(fs::read(out.join(name)).unwrap(), bytes);
        assert_eq!(Digest::of(&bytes), *digest);
    }
    assert_eq!(package.read("big-2").unwrap(), [big(), big()].concat());
    // Of several that are damaged the first by name is told.
    let state = registry.snapshot();
    for name in ["part/7", "part/30"] {
        let file = &state.version(&id).unwrap().record.files[name];
        fs::remove_dir_all(folder.path().join("registry/blob").join(file.sha256.to_string())).unwrap();
        fs::remove_file(out.join(name)).unwrap();
    }
    let first = state.version(&id).unwrap().record.files["part/30"].sha256.to_string();
    let error = registry.fetch_to(&id, &out).unwrap_err();
    assert!(error.to_string().contains(&first), "{error}");
    assert!(registry.fetch(&id).unwrap_err().to_string().contains(&first));
}

#[test]
fn compressed_files_and_onnx_in_disguise_are_refused() {
    let registry = Registry::open("memory:").unwrap();
    let commit = |name: &str, bytes: Vec<u8>| {
        let version = NewVersion::new("shop").file(name, bytes);
        registry.commit(Draft::new("t", "x").register(version)).map(drop)
    };
    // `joblib.dump(1, f, compress=True)`.
    let error = commit("m.joblib", b"x\x9ck`\xf1f\xd4\x03\0\x03\xa6\0\xff".to_vec()).unwrap_err();
    assert!(error.to_string().contains("is compressed and may hide a pickle"), "{error}");
    // The fields of a model in another order, and after junk that looks like JSON.
    let field = |tag: u8, body: &[u8]| [&[tag, body.len() as u8], body].concat();
    let entry = [field(0x0a, b"location"), field(0x12, b"../../etc/passwd")].concat();
    let graph = field(0x3a, &field(0x2a, &field(0x6a, &entry)));
    let junk = field(0x0a, format!("{:123}", "").as_bytes());
    for (name, model) in [
        ("model.onnx", [graph.clone(), vec![0x08, 8]].concat()),
        ("model.bin", [graph.clone(), vec![0x08, 0x88, 0]].concat()),
        ("model.json", [junk, graph].concat()),
    ] {
        let error = commit(name, model).unwrap_err();
        assert!(error.to_string().contains("reaches for data outside its folder"), "{name}: {error}");
    }
    let error = commit("model.onnx", b"not a model".to_vec()).unwrap_err();
    assert!(error.to_string().contains("is named or looks like an ONNX model"), "{error}");
    commit("weights.bin", vec![0; 100]).unwrap();
}
