//! Benchmarks of `mlops-registry`, each with the naive way beside it.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails says where")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use benches::Peer;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mlops_core::{ModelRef, ModelVersion};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, Expect, NewVersion, Query};

const VERSIONS: usize = 10_000;

/// Fills a registry with 10 000 versions of 100 models, 100 versions a commit.
fn fill(registry: &Registry) {
    for commit in 0..VERSIONS / 100 {
        let draft = (0..100).fold(Draft::new("bench", "fill"), |draft, model| {
            let number = commit * 100 + model;
            let version = NewVersion::new(format!("team/model-{model}"))
                .file("model.bin", format!("weights {}", number % 50))
                .metric("auc", f64::from(u32::try_from(number).unwrap()) / 10_000.0)
                .tag("market", if number % 100 == 7 { "eu" } else { "us" })
                .description("a version among many");
            draft.register(version)
        });
        registry.commit(draft).unwrap();
    }
    let first = ModelVersion::new("team/model-50", 1);
    registry.commit(Draft::new("bench", "go").alias("champion", &first, Expect::Absent)).unwrap();
}

/// Fills a folder with 10 000 commits of one version each, with as many different files, and two promotions for each
/// hundred of them. The log is made in memory and copied, which spares 10 000 waits for the disk.
fn fill_one_by_one(folder: &std::path::Path) {
    let memory = Registry::open("memory:").unwrap();
    for number in 0..VERSIONS {
        let version = NewVersion::new(format!("team/model-{}", number % 100))
            .file("model.bin", format!("weights {number}"))
            .metric("auc", f64::from(u32::try_from(number).unwrap()) / 10_000.0)
            .tag("market", "eu")
            .description("a version among many");
        let receipt =
            memory.commit(Draft::new("bench", format!("rows of day {number}")).register(version)).unwrap();
        if number % 50 == 0 {
            let promote =
                Draft::new("bench", "better").alias("champion", receipt.version().unwrap(), Expect::Any);
            memory.commit(promote).unwrap();
        }
    }
    for part in ["log", "checkpoint"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
    }
    for commit in memory.history(1, usize::MAX).unwrap() {
        let path = folder.join(format!("log/{:020}.json", commit.sequence));
        std::fs::write(path, commit.encode().unwrap().0).unwrap();
    }
    let (sequence, bytes) = now(memory.registry().log().checkpoint(u64::MAX)).unwrap().unwrap();
    std::fs::write(folder.join(format!("checkpoint/{sequence:020}.json")), &bytes).unwrap();
}

/// The log of a folder in a database, and its checkpoint.
fn copy_to_sqlite(folder: &std::path::Path, location: &str) {
    let from = Registry::open(folder.to_str().unwrap()).unwrap();
    let to = Registry::open(location).unwrap();
    let (from, to) = (from.registry().log(), to.registry().log());
    for (sequence, entry) in (1..).zip(now(from.read(1, usize::MAX)).unwrap()) {
        now(to.append(sequence, entry)).unwrap();
    }
    let (sequence, bytes) = now(from.checkpoint(u64::MAX)).unwrap().unwrap();
    now(to.save_checkpoint(sequence, bytes)).unwrap();
}

/// What a log that waits for nobody answers.
fn now<T>(mut call: mlops_core::BoxFuture<'_, T>) -> T {
    match call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => panic!("memory, folders and SQLite answer at once"),
    }
}

fn read(c: &mut Criterion) {
    let registry = Registry::open("memory:").unwrap();
    fill(&registry);
    let mut group = c.benchmark_group("registry/resolve");
    group.bench_function("snapshot", |b| {
        b.iter(|| {
            registry.state().alias(black_box("team/model-50"), black_box("champion")).unwrap().id().version
        });
    });
    let model: ModelRef = "team/model-50@champion".parse().unwrap();
    group.bench_function("snapshot by reference", |b| {
        b.iter(|| registry.state().resolve(black_box(&model)).unwrap().id().version);
    });
    let mut models: HashMap<String, HashMap<String, u64>> = HashMap::new();
    for model in 0..100 {
        models.insert(format!("team/model-{model}"), [("champion".to_owned(), 1)].into());
    }
    let naive = Mutex::new(models);
    group.bench_function("naive: map behind a mutex", |b| {
        b.iter(|| naive.lock().unwrap()[black_box("team/model-50")][black_box("champion")]);
    });
    group.finish();

    let mut group = c.benchmark_group("registry/search 10 000 versions");
    let state = registry.snapshot();
    let one = Query::new().model("team/model-7").tag("market", "eu");
    group.bench_function("by model and tag", |b| b.iter(|| state.search(black_box(&one)).len()));
    let tag = Query::new().tag("market", "eu");
    group.bench_function("by tag", |b| b.iter(|| state.search(black_box(&tag)).len()));
    let scan = Query::new().text("among").metric("auc", 0.0..).best_first("auc", true);
    group.bench_function("full scan, sorted", |b| b.iter(|| state.search(black_box(&scan)).len()));
    group.finish();
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("registry/durable write");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for (name, location) in
        [("local", format!("{path}/local")), ("sqlite", format!("sqlite:{path}/registry.db"))]
    {
        let registry = Registry::open(&location).unwrap();
        let mut number = 0;
        group.bench_function(format!("register, {name}"), |b| {
            b.iter(|| {
                number += 1;
                let version = NewVersion::new("shop").file("model.bin", format!("{name} {number}"));
                registry.commit(Draft::new("bench", "x").register(version)).unwrap()
            });
        });
        let id = ModelVersion::new("shop", 1);
        group.bench_function(format!("promote, {name}"), |b| {
            b.iter(|| registry.commit(Draft::new("bench", "x").alias("champion", &id, Expect::Any)).unwrap());
        });
    }
    let large = tempfile::tempdir().unwrap();
    fill_one_by_one(large.path());
    let registry = Registry::open(large.path().to_str().unwrap()).unwrap();
    let id = ModelVersion::new("team/model-50", 1);
    group.bench_function("promote, local, 10 000 versions", |b| {
        b.iter(|| registry.commit(Draft::new("bench", "x").alias("champion", &id, Expect::Any)).unwrap());
    });
    // What a script does: two files, each written in place, nothing forced to the disk, nothing checked.
    let mut number = 0;
    group.bench_function("naive: two plain files", |b| {
        b.iter(|| {
            number += 1;
            std::fs::write(folder.path().join(format!("model-{number}.bin")), "weights").unwrap();
            std::fs::write(folder.path().join("champion.json"), format!("{{\"version\": {number}}}"))
                .unwrap();
        });
    });
    group.finish();
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("registry/cold open, 10 000 versions");
    group.sample_size(10);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fill(&Registry::open(path).unwrap());
    group.bench_function("local", |b| b.iter_with_large_drop(|| Registry::open(path).unwrap()));
    let one_by_one = tempfile::tempdir().unwrap();
    fill_one_by_one(one_by_one.path());
    let path = one_by_one.path().to_str().unwrap();
    group.bench_function("local, one version a commit", |b| {
        b.iter_with_large_drop(|| Registry::open(path).unwrap());
    });
    let database = tempfile::tempdir().unwrap();
    let location = format!("sqlite:{}", database.path().join("registry.db").display());
    copy_to_sqlite(one_by_one.path(), &location);
    group.bench_function("sqlite, one version a commit", |b| {
        b.iter_with_large_drop(|| Registry::open(&location).unwrap());
    });
    group.finish();
}

fn artifact(c: &mut Criterion) {
    let mut group = c.benchmark_group("registry/100 MB file");
    group.sample_size(10);
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("big.bin");
    std::fs::write(&source, vec![1_u8; 100 << 20]).unwrap();
    let fresh = || tempfile::tempdir_in(folder.path()).unwrap();
    let register = |root: &tempfile::TempDir| {
        let registry = Registry::open(root.path().to_str().unwrap()).unwrap();
        let version = NewVersion::new("shop").file_at("big.bin", &source);
        registry.commit(Draft::new("bench", "x").register(version)).unwrap();
        registry
    };
    group.bench_function("in, digest checked, durable", |b| {
        b.iter_batched(fresh, |root| (register(&root), root), BatchSize::PerIteration);
    });
    let root = fresh();
    let registry = register(&root);
    group.bench_function("out, digest checked, durable", |b| {
        b.iter_batched(
            fresh,
            |out| {
                registry.fetch_to(&ModelVersion::new("shop", 1), out.path()).unwrap();
                out
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("naive: copy, unchecked, not forced to the disk", |b| {
        b.iter_batched(
            fresh,
            |out| {
                std::fs::copy(&source, out.path().join("big.bin")).unwrap();
                out
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// The same of MLflow over SQLite.
fn mlflow(c: &mut Criterion) {
    let Some(mut peer) = Peer::start("registry.py") else { return };
    let mut group = c.benchmark_group("registry/MLflow");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for what in ["register", "promote", "resolve", "search_by_tag", "full_scan", "artifact_in"] {
        group.bench_function(what, |b| b.iter_custom(|repeats| peer.time(what, repeats)));
    }
    group.finish();
}

criterion_group!(benches, read, write, open, artifact, mlflow);
criterion_main!(benches);
