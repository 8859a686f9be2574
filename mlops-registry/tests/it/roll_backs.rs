//! Roll-backs of many aliases, some of which cannot go back.

use mlops_core::{ErrorKind, ModelVersion};
use mlops_registry::blocking::Registry;
use mlops_registry::{At, Draft, Expect};

use crate::support::{refused, register};

const MODELS: [&str; 4] = ["deleted", "fine", "purged", "rejected"];

fn draft() -> Draft {
    Draft::new("ann", "incident")
}

/// Each model's champion moved from version 1 to 2; of three models version 1 cannot serve any more.
fn registry() -> Registry {
    let registry = Registry::open("memory:").unwrap();
    for _ in 1..=2 {
        for model in MODELS {
            let id = register(&registry, model, "weights").unwrap();
            registry.commit(draft().alias("champion", &id, Expect::Any)).unwrap();
        }
    }
    let first = |model| ModelVersion::new(model, 1);
    let ends = Draft::new("bob", "too old").delete(&first("deleted")).delete(&first("purged"));
    registry.commit(ends.purge(&first("purged")).reject(&first("rejected"))).unwrap();
    registry
}

fn champions(registry: &Registry) -> Vec<u64> {
    let state = registry.snapshot();
    MODELS.map(|model| state.alias(model, "champion").unwrap().id().version).to_vec()
}

#[test]
fn what_cannot_go_back_holds_up_nobody_and_is_told() {
    let registry = registry();
    let back = || draft().key("back").roll_back_all(At::Sequence(8));
    let receipt = registry.commit(back()).unwrap();
    assert_eq!(champions(&registry), [2, 1, 2, 2]);
    let told: Vec<_> = receipt.left.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for (told, part) in told.iter().zip([
        "deleted@champion stays where it is: deleted/1 was deleted by bob (too old): restore it first",
        "purged@champion stays where it is: purged/1 was purged by bob (too old): its files are gone",
        "rejected@champion cannot point at rejected/1, which was rejected by bob: too old",
    ]) {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(receipt.left[1].version, ModelVersion::new("purged", 1));
    // A second try tells the same, and what moves later is no part of it.
    registry.commit(draft().alias("champion", &ModelVersion::new("fine", 2), Expect::Any)).unwrap();
    let again = registry.commit(back()).unwrap();
    assert!(again.replayed);
    assert_eq!(again.left, receipt.left);
    // Also of what can serve again by now, or has another name, and with a checkpoint in between.
    registry.commit(draft().restore(&ModelVersion::new("deleted", 1))).unwrap();
    registry.commit(draft().rename_model("rejected", "refused")).unwrap();
    for round in 0..80 {
        let id = ModelVersion::new("fine", 1);
        registry.commit(draft().tag(&id, "round", round.to_string())).unwrap();
    }
    assert_eq!(registry.commit(back()).unwrap().left, receipt.left);
}

#[test]
fn models_that_are_deleted_have_no_part_in_it() {
    let registry = registry();
    for round in 0..80 {
        registry.commit(draft().tag(&ModelVersion::new("fine", 1), "round", round.to_string())).unwrap();
    }
    let off = |model| draft().remove_alias(model, "champion", Expect::Any);
    // Nothing points at a model that is deleted; an alias that was removed by itself is left all the same.
    registry.commit(off("purged").delete_model("purged")).unwrap();
    registry.commit(off("rejected").delete_model("rejected")).unwrap();
    registry.commit(off("deleted")).unwrap();
    let back = || draft().key("back").restore_model("purged").roll_back_all(At::Sequence(8));
    let receipt = registry.commit(back()).unwrap();
    let told: Vec<_> = receipt.left.iter().map(|left| left.alias.name.as_str()).collect();
    assert_eq!(told, ["deleted"]);
    let first = |model| ModelVersion::new(model, 1);
    registry.commit(draft().restore_model("rejected").restore(&first("deleted"))).unwrap();
    assert_eq!(registry.commit(back()).unwrap().left, receipt.left);
    // A roll-back of its own counts the model in.
    registry.commit(draft().delete_model("rejected")).unwrap();
    let own = draft().restore_model("rejected").roll_back("rejected", At::Sequence(8));
    refused(&registry, own, "rejected/1, which was rejected by bob");
}

#[test]
fn the_draft_may_see_to_a_version_itself() {
    let registry = registry();
    let (deleted, rejected) = (ModelVersion::new("deleted", 1), ModelVersion::new("rejected", 1));
    let restored = draft().restore(&deleted).roll_back_all(At::Sequence(8));
    assert_eq!(registry.commit(restored).unwrap().left.len(), 2);
    assert_eq!(champions(&registry), [1, 1, 2, 2]);
    // Another's review does not lift the rejection: then nothing happens.
    refused(
        &registry,
        draft().approve(&rejected).roll_back("rejected", At::Sequence(8)),
        "which was rejected by bob",
    );
    let lifted = Draft::new("bob", "it was fine").approve(&rejected).roll_back("rejected", At::Sequence(8));
    assert!(registry.commit(lifted).unwrap().left.is_empty());
    assert_eq!(champions(&registry), [1, 1, 2, 1]);
}

#[test]
fn a_roll_back_that_moves_nothing_says_why() {
    let registry = registry();
    refused(
        &registry,
        draft().roll_back("purged", At::Sequence(8)),
        "no alias can be rolled back: purged@champion stays where it is: purged/1 was purged by bob",
    );
    refused(
        &registry,
        draft().roll_back_alias("purged", "champion", At::Sequence(8)),
        "purged/1 was purged by bob",
    );
    registry.commit(draft().roll_back("fine", At::Sequence(8))).unwrap();
    refused(
        &registry,
        draft().roll_back_all(At::Sequence(8)),
        "deleted/1 was deleted by bob (too old): restore it first; 2 more",
    );
    let error = registry.commit(draft().roll_back("fine", At::Sequence(8))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn the_steps_before_count() {
    let fine = ModelVersion::new("fine", 1);
    // Rejected or deleted in the incident itself: the alias stays, and is told.
    for draft in [draft().reject(&fine), draft().delete(&fine)] {
        let registry = registry();
        registry.commit(Draft::new("bob", "back").restore(&ModelVersion::new("deleted", 1))).unwrap();
        let receipt = registry.commit(draft.roll_back_all(At::Sequence(8))).unwrap();
        assert_eq!(champions(&registry), [1, 2, 2, 2]);
        let left: Vec<_> = receipt.left.iter().map(|left| left.alias.name.as_str()).collect();
        assert_eq!(left, ["fine", "purged", "rejected"]);
    }
    // What is restored only afterwards could not go back, which holds up nobody and is told.
    let registry = registry();
    let late = draft().roll_back_all(At::Sequence(8)).restore(&ModelVersion::new("deleted", 1));
    let left = registry.commit(late).unwrap().left;
    assert_eq!(champions(&registry), [2, 1, 2, 2]);
    assert_eq!(left.len(), 3);
    let why =
        "deleted@champion stays where it is: deleted/1 could not serve when the aliases were rolled back";
    assert!(left[0].to_string().contains(why), "{}", left[0]);
}

#[test]
fn what_another_step_moves_is_not_left() {
    let registry = registry();
    let third = register(&registry, "purged", "other weights").unwrap();
    let draft = draft().roll_back_all(At::Sequence(8)).alias("champion", &third, Expect::Any);
    let receipt = registry.commit(draft).unwrap();
    let left: Vec<_> = receipt.left.iter().map(|left| left.alias.name.as_str()).collect();
    assert_eq!(left, ["deleted", "rejected"]);
}
