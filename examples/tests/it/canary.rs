use examples::canary::{Service, register, registry, run};
use mlops_core::{ModelVersion, Timestamp};
use mlops_registry::{Draft, Expect};
use mlops_serve::rollout::{Action, Rollout};

fn told(weights: [f64; 2]) -> (ModelVersion, Vec<String>) {
    let mut lines = Vec::new();
    let champion = run(weights, &mut |line| lines.push(line)).unwrap();
    (champion, lines)
}

#[test]
fn a_better_challenger_is_promoted_by_its_alias_through_a_kill() {
    let (champion, lines) = told([0.8, -1.5]);
    let [advanced, promoted, end] = &lines[..] else { panic!("{lines:?}") };
    assert!(advanced.contains("advance: no guardrail objects: step 2 gives 0.5"), "{advanced}");
    assert!(
        promoted.contains("promote: all steps are done and every metric is shown to be better"),
        "{promoted}"
    );
    assert_eq!(end, "shop/2 answers, alias champion is shop/2");
    assert_eq!(champion, ModelVersion::new("shop", 2));
}

#[test]
fn a_worse_challenger_is_rolled_back_and_rejected() {
    let (champion, lines) = told([-0.8, 1.5]);
    let [.., rolled_back, end] = &lines[..] else { panic!("{lines:?}") };
    assert!(rolled_back.contains("roll_back: squared_error of the challenger is worse"), "{rolled_back}");
    assert_eq!(end, "shop/1 answers, alias champion is shop/1");
    assert_eq!(champion, ModelVersion::new("shop", 1));
}

fn answering(service: &Service) -> Vec<u64> {
    service.endpoint.arms().iter().map(|arm| arm.model.version().version).collect()
}

fn store(rollout: &Rollout) -> String {
    serde_json::to_string(rollout).unwrap()
}

#[test]
fn a_trial_that_is_over_ends_once_and_later_releases_start() {
    for (action, after) in [(Action::Promote, 2), (Action::RollBack, 1)] {
        let registry = registry([0.8, -1.5]).unwrap();
        let start = |stored: &str| Service::start(&registry, Some(stored), Timestamp::EPOCH).unwrap();
        let mut trial = Service::start(&registry, None, Timestamp::EPOCH).unwrap().rollout.unwrap();
        trial.apply(action, Timestamp::EPOCH);
        let stored = store(&trial);
        // Killed after it was stored, and again and again before the stored value is deleted.
        for _ in 0..2 {
            let service = start(&stored);
            assert_eq!((answering(&service), service.rollout.is_none()), (vec![after], true));
        }
        register(&registry, "next", [0.2, -0.2]).unwrap();
        let next = ModelVersion::new("shop", 3);
        let draft = Draft::new("ann", "the next release").approve(&next);
        registry.commit(draft.alias("champion", &next, Expect::Version(after))).unwrap();
        let service = start(&stored);
        assert_eq!((answering(&service), service.rollout.is_none()), (vec![3], true));
    }
}

#[test]
fn a_hotfix_in_the_middle_of_a_trial_begins_another() {
    for promoted in [false, true] {
        let registry = registry([0.8, -1.5]).unwrap();
        let mut trial = Service::start(&registry, None, Timestamp::EPOCH).unwrap().rollout.unwrap();
        register(&registry, "hotfix", [0.2, -0.2]).unwrap();
        let hotfix = ModelVersion::new("shop", 3);
        let draft = Draft::new("ann", "a hotfix").approve(&hotfix);
        registry.commit(draft.alias("champion", &hotfix, Expect::Version(1))).unwrap();
        if promoted {
            trial.apply(Action::Promote, Timestamp::EPOCH);
        }
        let service = Service::start(&registry, Some(&store(&trial)), Timestamp::EPOCH).unwrap();
        assert_eq!(answering(&service), [3, 2]);
        assert_eq!(*service.rollout.unwrap().champion(), hotfix);
    }
}
