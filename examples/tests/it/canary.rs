use examples::canary::{Service, Trial, register, registry, run};
use mlops_core::{ModelVersion, Seed, Timestamp};
use mlops_registry::{Draft, Expect};
use mlops_serve::rollout::Action;
use rand::RngExt as _;

const BETTER: [f64; 2] = [0.8, -1.5];

fn told(weights: [f64; 2], killed: &mut impl FnMut(&str) -> bool) -> (ModelVersion, Vec<String>) {
    let mut lines = Vec::new();
    let champion = run(weights, killed, &mut |line| lines.push(line)).unwrap();
    (champion, lines)
}

#[test]
fn a_better_challenger_is_promoted_by_its_alias() {
    let (champion, lines) = told(BETTER, &mut |_| false);
    let [advanced, promoted, end] = &lines[..] else { panic!("{lines:?}") };
    assert!(advanced.contains("advance: no guardrail objects: step 2 gives 0.5"), "{advanced}");
    assert!(
        promoted.contains("promote: all steps are done and every metric is shown to be better"),
        "{promoted}"
    );
    assert_eq!(end, "shop/2 answers, alias champion is shop/2");
    assert_eq!(champion, ModelVersion::new("shop", 2));

    // Whatever is stored is not lost: kills after that change not a word.
    let mut rng = Seed::new(3).rng();
    let mut kills = 0;
    let again = told(BETTER, &mut |step| {
        let is_killed = matches!(step, "stored" | "settled") && rng.random_bool(0.05);
        kills += u32::from(is_killed);
        is_killed
    });
    assert_eq!(again, (champion, lines));
    assert!(kills > 100, "{kills}");
}

/// What the endpoint counted since the last look is lost with its process. The labels are not: without those that some
/// hundred kills came upon, or with them twice, a decision would come dozens of visits later or earlier.
#[test]
fn kills_between_any_two_steps_lose_no_label() {
    let (_, lines) = told(BETTER, &mut |_| false);
    let parts = |line: &str| {
        let (visit, decision) = line.trim_start_matches("visit ").split_once(": ").unwrap();
        (visit.parse::<i64>().unwrap(), decision.to_owned())
    };
    for seed in [1, 2] {
        let mut rng = Seed::new(seed).rng();
        let mut kills = 0;
        let (_, survived) = told(BETTER, &mut |_| {
            let is_killed = rng.random_bool(0.03);
            kills += u32::from(is_killed);
            is_killed
        });
        assert!(kills > 100, "{kills}");
        assert_eq!((survived.len(), survived.last()), (3, lines.last()));
        for (line, told) in lines.iter().zip(&survived).take(2) {
            let ((visit, decision), (later, same)) = (parts(line), parts(told));
            // Killed before it was stored, it is made again at the next visit.
            assert!(decision == same && (0..=5).contains(&(later - visit)), "{line}, {told}");
        }
    }
}

#[test]
fn a_worse_challenger_is_rolled_back_and_rejected() {
    let (champion, lines) = told([-0.8, 1.5], &mut |_| false);
    let [.., rolled_back, end] = &lines[..] else { panic!("{lines:?}") };
    assert!(rolled_back.contains("roll_back: squared_error of the challenger is worse"), "{rolled_back}");
    assert_eq!(end, "shop/1 answers, alias champion is shop/1");
    assert_eq!(champion, ModelVersion::new("shop", 1));
}

fn answering(service: &Service) -> Vec<u64> {
    service.endpoint.arms().iter().map(|arm| arm.model.version().version).collect()
}

fn store(trial: &Trial) -> String {
    serde_json::to_string(trial).unwrap()
}

#[test]
fn a_trial_that_is_over_ends_once_and_later_releases_start() {
    for (action, after) in [(Action::Promote, 2), (Action::RollBack, 1)] {
        let registry = registry([0.8, -1.5]).unwrap();
        let start = |stored: &str| Service::start(&registry, Some(stored), Timestamp::EPOCH).unwrap();
        let mut trial = Service::start(&registry, None, Timestamp::EPOCH).unwrap().trial.unwrap();
        trial.rollout.apply(action, Timestamp::EPOCH);
        let stored = store(&trial);
        // Killed after it was stored, and again and again before the stored value is deleted.
        for _ in 0..2 {
            let service = start(&stored);
            assert_eq!((answering(&service), service.trial.is_none()), (vec![after], true));
        }
        register(&registry, "next", [0.2, -0.2]).unwrap();
        let next = ModelVersion::new("shop", 3);
        let draft = Draft::new("ann", "the next release").approve(&next);
        registry.commit(draft.alias("champion", &next, Expect::Version(after))).unwrap();
        let service = start(&stored);
        assert_eq!((answering(&service), service.trial.is_none()), (vec![3], true));
    }
}

#[test]
fn a_hotfix_in_the_middle_of_a_trial_begins_another() {
    for promoted in [false, true] {
        let registry = registry([0.8, -1.5]).unwrap();
        let mut trial = Service::start(&registry, None, Timestamp::EPOCH).unwrap().trial.unwrap();
        register(&registry, "hotfix", [0.2, -0.2]).unwrap();
        let hotfix = ModelVersion::new("shop", 3);
        let draft = Draft::new("ann", "a hotfix").approve(&hotfix);
        registry.commit(draft.alias("champion", &hotfix, Expect::Version(1))).unwrap();
        if promoted {
            trial.rollout.apply(Action::Promote, Timestamp::EPOCH);
        }
        let service = Service::start(&registry, Some(&store(&trial)), Timestamp::EPOCH).unwrap();
        assert_eq!(answering(&service), [3, 2]);
        assert_eq!(*service.trial.unwrap().rollout.champion(), hotfix);
    }
}
