use std::collections::BTreeSet;

use examples::shop::schema;
use mlops_core::ModelVersion;
use mlops_core::data::Dataset;
use mlops_registry::blocking::Registry;
use mlops_registry::{Change, Draft, Expect, NewVersion};

use crate::{closed_loop, replayable, simulated};

#[test]
fn a_year_is_served_without_a_failure_and_the_drill_is_rolled_back() {
    let state = tempfile::tempdir().unwrap();
    let json = state.path().join("summary.json");
    let arguments = ["--sessions", "600", "--json", json.to_str().unwrap()];
    let summary = closed_loop(&state.path().join("loop"), &arguments).unwrap();
    assert_eq!((summary.requests_answered, summary.requests_failed), (10 * 600, 0));
    assert_eq!(summary.months.len(), 10);
    assert!(summary.roll_backs.iter().any(|end| end.challenger.version == 2), "{:?}", summary.roll_backs);
    assert!(summary.promotions.iter().all(|end| end.challenger.version != 2));
    let compared = summary.over_drifted_months();
    assert!(compared.loop_is_better, "{compared:?}");

    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["over_drifted_months"]["loop_is_better"], true);
    assert_eq!(report["months"][0]["loop"]["roc_auc"].as_f64(), summary.months[0].of_loop.roc_auc);

    // The registry tells the same story: who, when, why, and nothing twice.
    let registry = Registry::open(state.path().join("loop/registry").to_str().unwrap()).unwrap();
    let history = registry.history(1, usize::MAX).unwrap();
    assert!(history.iter().all(|commit| !commit.actor.is_empty() && !commit.reason.is_empty()));
    let versions = history.iter().flat_map(|commit| &commit.changes).filter_map(|change| match change {
        Change::Register(record) => Some(record.data["training"]),
        _ => None,
    });
    let versions: Vec<_> = versions.collect();
    assert_eq!(versions.len(), summary.versions.len());
    // The drill is trained on the rows of the first model.
    assert!(versions.iter().collect::<BTreeSet<_>>().len() >= versions.len() - 1, "each on data of its own");
    let champion = registry.snapshot().alias("conversion", "champion").unwrap().id().version;
    assert_eq!(Some(champion), summary.months.last().map(|month| month.champion));
}

#[test]
fn a_second_run_goes_on_with_the_champion_that_it_finds() {
    let state = tempfile::tempdir().unwrap();
    let first = closed_loop(state.path(), &["--sessions", "200"]).unwrap();
    let second = closed_loop(state.path(), &["--sessions", "200"]).unwrap();
    assert_eq!(replayable(first.clone()).months[..], replayable(second.clone()).months[..10]);
    assert_eq!(second.months.len(), 10 + 12);
    assert_eq!(second.versions[..first.versions.len()], first.versions[..]);
    let error = closed_loop(state.path(), &["--sessions", "201"]).unwrap_err();
    assert!(error.to_string().contains("give another folder with --state"), "{error}");
}

#[test]
fn the_same_seed_gives_the_same_year() {
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = states.map(|state| replayable(closed_loop(state.path(), &["--sessions", "200"]).unwrap()));
    assert_eq!(a, b);
}

#[test]
fn csv_and_parquet_of_the_same_sessions_give_the_same_year() {
    let folder = tempfile::tempdir().unwrap();
    let csv = simulated(folder.path(), &[1, 2, 6, 9, 10], |_, month| month);
    let parquet = folder.path().join("sessions.parquet");
    let sessions = Dataset::open(&csv, schema().unwrap()).unwrap();
    sessions.write_parquet(std::fs::File::create(&parquet).unwrap()).unwrap();
    let run = |state: &str, data: &std::path::Path| {
        let mut summary =
            replayable(closed_loop(&folder.path().join(state), &["--data", data.to_str().unwrap()]).unwrap());
        summary.source.clear();
        summary
    };
    let summary = run("csv", &csv);
    assert_eq!((summary.months.len(), summary.requests_answered), (3, 900));
    assert!(summary.months.iter().all(|month| month.features.len() == 16), "every feature is watched");
    assert_eq!(summary, run("parquet", &parquet));
}

#[test]
fn a_champion_that_a_person_made_is_taken_over() {
    let state = tempfile::tempdir().unwrap();
    let first = closed_loop(state.path(), &["--sessions", "200"]).unwrap();
    let champion = ModelVersion::new("conversion", first.months.last().unwrap().champion);
    let other = {
        let registry = Registry::open(state.path().join("registry").to_str().unwrap()).unwrap();
        let package = registry.fetch(&champion).unwrap();
        let copy = NewVersion::new("conversion").signature(package.signature.clone());
        let copy = package.files.keys().fold(copy, |copy, name| copy.file(name, package.read(name).unwrap()));
        let receipt = registry.commit(Draft::new("ann", "a build of our own").register(copy)).unwrap();
        let other = receipt.version().unwrap().clone();
        let draft = Draft::new("ann", "ours is better").approve(&other);
        registry.commit(draft.alias("champion", &other, Expect::Version(champion.version))).unwrap();
        other
    };
    let second = closed_loop(state.path(), &["--sessions", "200"]).unwrap();
    assert_eq!(second.months.len(), 22);
    let promoted_since = second.promotions.len() > first.promotions.len();
    assert!(promoted_since || second.months[10].champion == other.version, "{:?}", second.promotions);
}
