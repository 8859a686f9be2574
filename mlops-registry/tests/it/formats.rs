//! Registries that older builds wrote are opened by this one.

use mlops_core::ModelVersion;
use mlops_registry::doctor::Checkup;
use mlops_registry::{Approval, Query};

use crate::support::{open, tree};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/registry/format-1");

const HEAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/registry/format-1.head");

#[test]
fn format_1_is_opened() {
    // A copy: opening never changes a registry, and a test does not rely on it.
    let folder = tempfile::tempdir().unwrap();
    copy(FIXTURE, folder.path());
    let registry = open(folder.path());
    let state = registry.snapshot();
    assert_eq!(state.sequence(), 14);
    assert_eq!(state.head().to_string(), std::fs::read_to_string(HEAD).unwrap().trim());
    let champion = state.alias("shop", "champion").unwrap();
    assert_eq!(champion.id(), &ModelVersion::new("shop", 2));
    assert_eq!(champion.approval, Approval::Approved);
    assert_eq!(champion.metrics["auc"], 0.92);
    assert_eq!(champion.stage.as_deref(), Some("staging"));
    assert_eq!(registry.fetch(champion.id()).unwrap().read("model.bin").unwrap(), "weights 2");
    assert!(state.version(&ModelVersion::new("shop", 3)).unwrap().purged.is_some());
    assert_eq!(state.search(&Query::new().tag("market", "eu")).len(), 1);
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let report = registry.doctor(checkup).unwrap();
    assert!(report.is_healthy(), "{report}");
}

fn copy(from: &str, to: &std::path::Path) {
    for path in tree(from.as_ref()) {
        let target = to.join(&path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(std::path::Path::new(from).join(&path), target).unwrap();
    }
}

const CHECKPOINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/registry/checkpoint-1");

fn check_checkpoint_1(registry: &mlops_registry::blocking::Registry) {
    let state = registry.snapshot();
    assert_eq!(state.sequence(), 66);
    let head = std::fs::read_to_string(format!("{CHECKPOINT}.head")).unwrap();
    assert_eq!(state.head().to_string(), head.trim());
    let champion = state.alias("shop", "champion").unwrap();
    assert_eq!((champion.id().version, champion.metrics["drift.psi"]), (2, 0.1));
    assert_eq!(state.served_at("shop", "champion", mlops_registry::At::Sequence(4)).unwrap(), None);
    assert_eq!(registry.read(champion.id(), "model.bin").unwrap(), "weights 2");
    let third = ModelVersion::new("shop", 3);
    assert_eq!(registry.read(&third, "model.bin").unwrap_err().kind(), mlops_core::ErrorKind::NotFound);
    // A key of that time is known.
    let version = mlops_registry::NewVersion::new("shop")
        .file("model.bin", "weights 1")
        .metric("auc", 0.91)
        .tag("market", "eu");
    let draft = mlops_registry::Draft::new("trainer", "nightly").key("key 1").register(version);
    assert!(registry.commit(draft).unwrap().replayed);
}

#[test]
fn a_checkpoint_of_format_1_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    copy(CHECKPOINT, folder.path());
    let registry = open(folder.path());
    check_checkpoint_1(&registry);
    let mut checkup = Checkup::default();
    checkup.races = 0;
    let report = registry.doctor(checkup).unwrap();
    assert!(report.is_healthy(), "{report}");
    assert!(report.to_string().contains("is not stated in the log: nobody uses it"), "{report}");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_of_format_1_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.db");
    std::fs::copy(format!("{CHECKPOINT}.db"), &path).unwrap();
    copy(&format!("{CHECKPOINT}.db.artifacts"), &folder.path().join("registry.db.artifacts"));
    let location = format!("sqlite:{}", path.display());
    let registry = mlops_registry::blocking::Registry::open(&location).unwrap();
    check_checkpoint_1(&registry);
    registry
        .commit(mlops_registry::Draft::new("ann", "on").tag(&ModelVersion::new("shop", 1), "a", "b"))
        .unwrap();
    assert_eq!(mlops_registry::blocking::Registry::open(&location).unwrap().snapshot().sequence(), 67);
}

/// Writes the fixture; kept to say how it was made. Run once for each format, then never again.
#[test]
#[ignore = "writes testdata"]
fn write_format_1() {
    use mlops_core::{Digest, ManualClock, Seed};
    use mlops_registry::{Change, Draft, Expect, Gate, NewVersion, Policy, Stages, blocking::Registry};
    let clock = ManualClock::new("2026-11-21T00:00:00Z".parse().unwrap());
    let builder = mlops_registry::Registry::builder().clock(clock).seed(Seed::new(1));
    let registry = Registry::open_with(builder, FIXTURE).unwrap();
    let commit = |draft: Draft| registry.commit(draft).unwrap();
    let id = |version| ModelVersion::new("shop", version);
    let mut policy = Policy::default();
    policy.four_eyes = true;
    policy.gates.insert("champion".into(), vec![Gate::Approved, Gate::metric_at_least("auc", 0.5)]);
    policy.stages = Some(Stages::new("dev").allow("dev", "staging"));
    commit(Draft::new("lead", "rules").policy("shop", policy));
    let describe = Change::DescribeModel {
        model: "shop".into(),
        description: "Buys or not".into(),
        tags: [("team".into(), "a".into())].into(),
    };
    commit(Draft::new("lead", "words").change(describe));
    for number in 1..=3 {
        let mut version = NewVersion::new("shop")
            .file("model.bin", format!("weights {number}"))
            .metric("auc", 0.9 + f64::from(number) / 100.0)
            .framework("mlops-native")
            .run("r")
            .data("train", Digest::of("rows"))
            .code("c")
            .baseline("model.bin")
            .description("größer");
        if number == 2 {
            version = version.parent(id(1)).tag("market", "eu");
        }
        commit(Draft::new("trainer", "nightly").key(format!("key {number}")).register(version));
    }
    commit(Draft::new("ann", "good").approve(&id(2)));
    commit(Draft::new("bob", "bad").reject(&id(1)));
    commit(Draft::new("ann", "go").alias("champion", &id(2), Expect::Absent));
    let stage =
        Change::MoveStage { model: "shop".into(), version: 2, from: "dev".into(), to: "staging".into() };
    commit(Draft::new("ann", "on").change(stage));
    commit(Draft::new("monitor", "week").measure(&id(2), "drift.psi", 0.1));
    commit(Draft::new("ann", "words").tag(&id(1), "seen", "yes"));
    commit(Draft::new("ann", "old").delete(&id(3)));
    commit(Draft::new("ann", "old").restore(&id(3)).delete(&id(3)).purge(&id(3)));
    // That build let any draft move the watermark, here to `UploadId::floor(1)`; now it is the sweep alone.
    registry.sweep("ann", "disk", std::time::Duration::MAX).unwrap();
    let state = registry.refresh().unwrap();
    assert_eq!(state.sequence(), 14);
    std::fs::write(HEAD, format!("{}\n", state.head())).unwrap();
}

/// Writes the fixture of a checkpoint in format 1; kept to say how it was made.
#[test]
#[ignore = "writes testdata"]
#[cfg(feature = "sqlite")]
fn write_checkpoint_1() {
    use mlops_core::{ManualClock, Seed};
    use mlops_registry::{Draft, Expect, NewVersion, Policy, blocking::Registry};
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/registry/checkpoint-1");
    for location in [folder.to_owned(), format!("sqlite:{folder}.db")] {
        let clock = ManualClock::new("2026-11-21T00:00:00Z".parse().unwrap());
        let builder = mlops_registry::Registry::builder().clock(clock).seed(Seed::new(2));
        let registry = Registry::open_with(builder, &location).unwrap();
        let id = |version| ModelVersion::new("shop", version);
        registry.commit(Draft::new("lead", "rules").policy("shop", Policy::default())).unwrap();
        for number in 1..=3 {
            let version = NewVersion::new("shop")
                .file("model.bin", format!("weights {number}"))
                .metric("auc", 0.9 + f64::from(number) / 100.0)
                .tag("market", "eu");
            registry
                .commit(Draft::new("trainer", "nightly").key(format!("key {number}")).register(version))
                .unwrap();
        }
        registry
            .commit(Draft::new("ann", "good").approve(&id(2)).alias("champion", &id(2), Expect::Absent))
            .unwrap();
        registry.commit(Draft::new("monitor", "week").measure(&id(2), "drift.psi", 0.1)).unwrap();
        registry.commit(Draft::new("ann", "old").delete(&id(3))).unwrap();
        registry.commit(Draft::new("ann", "old").purge(&id(3))).unwrap();
        for round in registry.snapshot().sequence()..66 {
            registry.commit(Draft::new("ann", "fill").tag(&id(1), "round", round.to_string())).unwrap();
        }
        std::fs::write(format!("{folder}.head"), format!("{}\n", registry.snapshot().head())).unwrap();
    }
}

const CHECKPOINT_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/registry/checkpoint-2");

#[test]
fn a_checkpoint_of_format_2_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    copy(CHECKPOINT_2, folder.path());
    let whole = open(folder.path());
    let head = std::fs::read_to_string(format!("{CHECKPOINT_2}.head")).unwrap();
    assert_eq!(whole.snapshot().head().to_string(), head.trim());
    let mut checkup = Checkup::default();
    checkup.races = 0;
    assert!(whole.doctor(checkup).unwrap().findings.is_empty());
    // It is what opening starts at, not the entries before it.
    for sequence in 1..50 {
        std::fs::remove_file(folder.path().join(format!("log/{sequence:020}.json"))).unwrap();
    }
    assert_eq!(*open(folder.path()).snapshot(), *whole.snapshot());
}

/// Writes the fixture of a checkpoint in format 2; kept to say how it was made.
#[test]
#[ignore = "writes testdata"]
fn write_checkpoint_2() {
    use mlops_core::evaluation::{Evaluation, Metric};
    use mlops_core::{ManualClock, Seed};
    use mlops_registry::{Draft, Expect, NewVersion, blocking::Registry};
    let clock = ManualClock::new("2026-11-22T00:00:00Z".parse().unwrap());
    let builder = Registry::builder().clock(clock).seed(Seed::new(3));
    let registry = Registry::open_with(builder, CHECKPOINT_2).unwrap();
    let evaluation = Evaluation::new(1000).with("roc_auc", Metric::new(0.9).with_std_error(Some(0.01)));
    let version = NewVersion::new("shop").file("model.bin", "weights").evaluation(evaluation);
    let receipt = registry.commit(Draft::new("trainer", "nightly").register(version)).unwrap();
    let id = receipt.version().unwrap();
    registry.commit(Draft::new("ann", "go").approve(id).alias("champion", id, Expect::Absent)).unwrap();
    let copy = registry.copy_of(id, "shop-eu").unwrap();
    registry.commit(Draft::new("ann", "eu").register(copy).describe(id, "größer")).unwrap();
    while registry.snapshot().sequence() < 63 {
        let round = registry.snapshot().sequence().to_string();
        registry.commit(Draft::new("ann", "fill").tag(id, "round", round)).unwrap();
    }
    std::fs::write(format!("{CHECKPOINT_2}.head"), format!("{}\n", registry.snapshot().head())).unwrap();
}

const CHECKPOINT_3: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/registry/checkpoint-3");

#[test]
fn a_checkpoint_of_format_3_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    copy(CHECKPOINT_3, folder.path());
    let whole = open(folder.path());
    let state = whole.snapshot();
    let head = std::fs::read_to_string(format!("{CHECKPOINT_3}.head")).unwrap();
    assert_eq!(state.head().to_string(), head.trim());
    let champion = state.alias("shop", "champion").unwrap();
    assert_eq!(champion.id(), &ModelVersion::new("store", 1));
    assert_eq!(state.served_at("shop", "champion", mlops_registry::At::Sequence(2)).unwrap(), Some(champion));
    assert_eq!(state.lineage(&ModelVersion::new("shop", 1)).unwrap().descendants.len(), 1);
    assert!(state.model("old").unwrap().deleted.is_some());
    let mut checkup = Checkup::default();
    checkup.races = 0;
    assert!(whole.doctor(checkup).unwrap().findings.is_empty());
    for sequence in 1..50 {
        std::fs::remove_file(folder.path().join(format!("log/{sequence:020}.json"))).unwrap();
    }
    assert_eq!(*open(folder.path()).snapshot(), *state);
}

/// A build that knows format 2 passes over a checkpoint whose deleted and renamed models it would not see, and then
/// meets them in the log. What has none is for it too.
#[test]
fn only_what_older_builds_would_not_see_makes_a_checkpoint_of_format_3() {
    use mlops_registry::{Draft, blocking::Registry};
    let registry = Registry::open("memory:").unwrap();
    crate::support::register(&registry, "shop", "1").unwrap();
    let is_of = |format: u32| {
        let bytes = registry.snapshot().to_checkpoint().unwrap();
        assert!(bytes.starts_with(format!("{{\"format\":{format},").as_bytes()));
    };
    is_of(2);
    registry.commit(Draft::new("ann", "x").delete_model("shop")).unwrap();
    is_of(3);
    registry.commit(Draft::new("ann", "x").restore_model("shop")).unwrap();
    is_of(2);
    registry.commit(Draft::new("ann", "x").rename_model("shop", "store")).unwrap();
    is_of(3);
}

/// Writes the fixture of a checkpoint in format 3; kept to say how it was made.
#[test]
#[ignore = "writes testdata"]
fn write_checkpoint_3() {
    use mlops_core::{ManualClock, Seed};
    use mlops_registry::{Draft, Expect, NewVersion, blocking::Registry};
    let clock = ManualClock::new("2026-11-22T00:00:00Z".parse().unwrap());
    let builder = mlops_registry::Registry::builder().clock(clock).seed(Seed::new(4));
    let registry = Registry::open_with(builder, CHECKPOINT_3).unwrap();
    let version = |model: &str| NewVersion::new(model).file("model.bin", "weights");
    let receipt = registry.commit(Draft::new("trainer", "nightly").register(version("shop"))).unwrap();
    let id = receipt.version().unwrap();
    registry.commit(Draft::new("ann", "go").alias("champion", id, Expect::Absent)).unwrap();
    let child = version("old").parent(id.clone());
    registry.commit(Draft::new("trainer", "tuned").register(child)).unwrap();
    registry.commit(Draft::new("ann", "two shops now").rename_model("shop", "store")).unwrap();
    registry.commit(Draft::new("ann", "never used").delete_model("old")).unwrap();
    while registry.snapshot().sequence() < 65 {
        let round = registry.snapshot().sequence().to_string();
        registry.commit(Draft::new("ann", "fill").tag(id, "round", round)).unwrap();
    }
    std::fs::write(format!("{CHECKPOINT_3}.head"), format!("{}\n", registry.snapshot().head())).unwrap();
}
