//! Any bytes as the body of a checkpoint, under a right seal: an answer, never a panic; a state that is read answers
//! every question and is written back the same.
#![no_main]

use mlops_core::{Digest, Timestamp};
use mlops_registry::{Query, Snapshot};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Snapshot::from_checkpoint(1, bytes);
    let sha256 = Digest::of(bytes);
    let [state, same] = [2, 3].map(|format| {
        let head = format!("{{\"format\":{format},\"sequence\":1,\"sha256\":\"{sha256}\"}}\n");
        Snapshot::from_checkpoint(1, &[head.as_bytes(), bytes].concat())
    });
    assert_eq!(state, same);
    let Some(state) = state else { return };
    for model in state.models() {
        for alias in model.aliases.keys() {
            let _ = (state.alias(&model.name, alias), state.served_at(&model.name, alias, Timestamp::EPOCH));
        }
        for version in &model.versions {
            let _ = (state.lineage(version.id()), state.card(version.id()).map(|card| card.to_markdown()));
        }
    }
    state.search(&Query::new().with_deleted().best_first("auc", true));
    let written = state.to_checkpoint().unwrap();
    assert_eq!(Snapshot::from_checkpoint(1, &written), Some(state));
});
