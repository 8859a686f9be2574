//! The rollout's promises as statistical claims.

use mlops_core::{ModelVersion, Seed, Timestamp};
use mlops_serve::rollout::{Action, Guardrail, Metric, Plan, Rollout, Traffic};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Optimised builds run the full number of simulations, twenty million looks in some minutes of one core:
/// `cargo test --release -p mlops-serve --test it rollout`.
const SIMULATIONS: u64 = if cfg!(debug_assertions) { 100 } else { 10_000 };
const REQUESTS: usize = 2000;
const ALPHA: f64 = 0.05;

fn plan() -> Plan {
    Plan::canary([0.1, 0.3, 0.5], 0, 20)
        .alpha(ALPHA)
        .guardrail(Guardrail::FailureRatio { max: 1.0 })
        .guardrail(Guardrail::SlowRate { limit_us: 1000.0, max: 0.05 })
        .guardrail(Guardrail::ShareMismatch)
        .guardrail(Metric::new("log_loss").lower_is_better())
}

fn version(version: u64) -> ModelVersion {
    ModelVersion::new("shop", version)
}

/// One rollout that is looked at after every request. Gives the number of requests until the roll-back.
fn simulate(rng: &mut ChaCha8Rng, worse: f64) -> Option<usize> {
    let now = Timestamp::EPOCH;
    let mut rollout = Rollout::new(plan(), version(1), version(2), now).unwrap();
    for request in 0..REQUESTS {
        let weight = rollout.challenger_weight();
        if weight == 1.0 {
            return None;
        }
        let challenged = rng.random_bool(weight);
        let asked = if challenged { 2 } else { 1 };
        let (arm, propensity) = if challenged { ("challenger", weight) } else { ("champion", 1.0 - weight) };
        let factor = if challenged { worse } else { 1.0 };
        let mut traffic = Traffic { requests: 1, ..Traffic::default() };
        traffic.failures = u64::from(rng.random_bool(0.05 * factor));
        // Sits on the limit of the guardrail: one in twenty is slow.
        traffic.latencies.record(if rng.random_bool(0.05 * factor) { 5_000_000 } else { 100_000 });
        assert!(rollout.add_traffic(&version(asked), arm, propensity, &traffic));
        // A buyer in six: the loss of one who was given .15, and of one who was not.
        let loss = if rng.random_bool(0.15) { 1.9 } else { 0.16 } * factor;
        assert!(rollout.add_outcome("log_loss", &version(asked), arm, propensity, loss).unwrap());
        let last = rollout.plan().steps.len() - 1;
        match rollout.decide(now).action {
            Action::RollBack => return Some(request + 1),
            // Stay in the last step, where a promotion would end the looking.
            Action::Advance if rollout.step() < last => rollout.apply(Action::Advance, now),
            _ => {}
        }
    }
    None
}

#[test]
fn equal_models_are_rolled_back_no_more_often_than_alpha() {
    let mut rng = Seed::new(11).rng();
    let rolled_back = (0..SIMULATIONS).filter(|_| simulate(&mut rng, 1.0).is_some()).count() as f64;
    let expected = ALPHA * SIMULATIONS as f64;
    assert!(rolled_back <= expected, "{rolled_back} of {SIMULATIONS}");
}

/// How a rollout ends in which a tenth of the visits go to a challenger whose buyers spend so many times as much:
/// three visitors in a hundred buy, a few of them much, so that means are far from normal.
fn shop(rng: &mut ChaCha8Rng, factor: f64) -> Action {
    let plan = Plan::canary([0.1, 0.5], 0, 0).alpha(ALPHA).guardrail(Metric::new("spent"));
    let mut rollout = Rollout::new(plan, version(1), version(2), Timestamp::EPOCH).unwrap();
    let mut last = Action::Hold;
    for request in 1..=60_000 {
        let challenged = rng.random_bool(0.1);
        let (asked, arm, propensity) = if challenged { (2, "challenger", 0.1) } else { (1, "champion", 0.9) };
        let spent = if rng.random_bool(0.03) {
            // A normal number, near enough.
            let size = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
            size.exp() * if challenged { factor } else { 1.0 }
        } else {
            0.0
        };
        assert!(rollout.add_outcome("spent", &version(asked), arm, propensity, spent).unwrap());
        if request % 200 == 0 {
            last = rollout.decide(Timestamp::EPOCH).action;
            if last == Action::RollBack {
                break;
            }
        }
    }
    last
}

#[test]
fn rare_large_purchases_in_a_small_arm_raise_no_false_alarm_and_hide_no_loss() {
    let mut rng = Seed::new(13).rng();
    let runs = SIMULATIONS / 5;
    let ends: Vec<Action> = (0..runs).map(|_| shop(&mut rng, 1.0)).collect();
    let count = |ends: &[Action], wanted| ends.iter().filter(|end| **end == wanted).count() as f64;
    let (alarms, judged) = (count(&ends, Action::RollBack), count(&ends, Action::Advance));
    assert!(alarms <= ALPHA * runs as f64, "{alarms} of {runs}");
    assert!(judged >= 0.8 * runs as f64, "{judged} of {runs} were judged at all");
    let runs = runs / 2;
    let ends: Vec<Action> = (0..runs).map(|_| shop(&mut rng, 0.3)).collect();
    let found = count(&ends, Action::RollBack);
    assert!(found >= 0.9 * runs as f64, "{found} of {runs}");
}

#[test]
fn bad_models_are_found() {
    let mut rng = Seed::new(12).rng();
    let runs = 50;
    let mut asked: Vec<usize> = (0..runs).filter_map(|_| simulate(&mut rng, 3.0)).collect();
    assert!(asked.len() >= 49, "{} of {runs}", asked.len());
    asked.sort_unstable();
    assert!(asked[asked.len() / 2] <= 700, "{asked:?}");
}

#[derive(serde::Deserialize)]
struct Golden {
    splits: Vec<Split>,
}

/// What two arms got, the share that the second should have got, and what a chi-square test says.
#[derive(serde::Deserialize)]
struct Split {
    wanted: f64,
    counts: [u64; 2],
    p_value: f64,
}

#[test]
fn splits_that_are_wrong_are_found_as_growthbook_finds_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/serve/experiments.golden.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut wrong, mut right) = (0, 0);
    for Split { wanted, counts, p_value } in golden.splits {
        let plan = Plan::canary([wanted], u64::MAX, 0).guardrail(Guardrail::ShareMismatch);
        let mut rollout = Rollout::new(plan, version(1), version(2), Timestamp::EPOCH).unwrap();
        let traffic = |requests| Traffic { requests, ..Traffic::default() };
        assert!(rollout.add_traffic(&version(1), "champion", 1.0 - wanted, &traffic(counts[0])));
        assert!(rollout.add_traffic(&version(2), "challenger", wanted, &traffic(counts[1])));
        let alarm = rollout.decide(Timestamp::EPOCH).action == Action::RollBack;
        // One look may alarm at 0.05; looking all the time wants more.
        assert!(!alarm || p_value < ALPHA, "{counts:?} at {p_value}");
        assert!(alarm || p_value > 1e-4, "{counts:?} at {p_value}");
        wrong += u32::from(alarm);
        right += u32::from(p_value > ALPHA);
    }
    assert!(wrong >= 12 && right >= 12, "{wrong} wrong, {right} right");
}
