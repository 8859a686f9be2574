//! Lines of JSON as the commits of a log: each that can be read is chained to the one before and applied. The state
//! answers every question, and its checkpoint gives it back.
#![no_main]

use mlops_core::Timestamp;
use mlops_registry::{At, Commit, Query, Snapshot};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut state = Snapshot::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(mut commit) = serde_json::from_slice::<Commit>(line) else { continue };
        commit.format = Commit::FORMAT;
        commit.sequence = state.sequence() + 1;
        commit.previous = state.head();
        let (entry, digest) = commit.encode().unwrap();
        let (read, again) = Commit::decode(commit.sequence, &entry).unwrap();
        assert_eq!((&read, again), (&commit, digest));
        let mut next = state.clone();
        if next.apply(&read, digest).is_ok() {
            state = next;
        }
    }
    for model in state.models() {
        for alias in model.aliases.keys() {
            let _ = (state.alias(&model.name, alias), state.served_at(&model.name, alias, Timestamp::EPOCH));
        }
        let _ = state.moves_back(Some(&model.name), At::Sequence(1));
        for version in &model.versions {
            let _ = (state.lineage(version.id()), state.card(version.id()).map(|card| card.to_markdown()));
        }
    }
    state.search(&Query::new().with_deleted().newest_first());
    let checkpoint = state.to_checkpoint().unwrap();
    assert_eq!(Snapshot::from_checkpoint(state.sequence(), &checkpoint), Some(state));
});
