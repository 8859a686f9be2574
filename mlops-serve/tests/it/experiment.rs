//! The promises of experiments as statistical claims, and an experiment at an endpoint.

use std::sync::Arc;

use mlops_core::experiment::correction;
use mlops_core::{ModelVersion, Seed, SystemClock, Timestamp};
use mlops_serve::endpoint::{ArmSpec, Endpoint};
use mlops_serve::rollout::experiment::{Action, Experiment, Plan, Status, Variant};
use mlops_serve::rollout::{Guardrail, Metric, Traffic};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::models::{id, model, row};

/// Optimised builds run the full number, and look after every request:
/// `cargo test --release -p mlops-serve --test it experiment`.
const SIMULATIONS: u32 = if cfg!(debug_assertions) { 400 } else { 10_000 };
const LOOK_EVERY: usize = if cfg!(debug_assertions) { 10 } else { 1 };
const REQUESTS: usize = 1500;
const ALPHA: f64 = 0.05;
const NAMES: [&str; 5] = ["champion", "b", "c", "d", "e"];

fn version(arm: usize) -> ModelVersion {
    ModelVersion::new("shop", arm as u64 + 1)
}

fn plan() -> Plan {
    Plan::new(Metric::new("gain"))
        .alpha(ALPHA)
        .guardrail(Guardrail::FailureRatio { max: 1.0 })
        .guardrail(Guardrail::ShareMismatch)
}

/// An experiment of five arms that is looked at again and again, the control with a third of the requests. Gives the
/// variants that were stopped or won on the way.
fn simulate(rng: &mut ChaCha8Rng, means: [f64; 5]) -> (Vec<String>, Status) {
    let weights = [2.0, 1.0, 1.0, 1.0, 1.0];
    let arms = NAMES.iter().enumerate().map(|(arm, name)| Variant::new(*name, version(arm), weights[arm]));
    let mut experiment = Experiment::new(plan(), arms, Timestamp::EPOCH).unwrap();
    let mut stopped = Vec::new();
    for request in 1..=REQUESTS {
        let shares: Vec<f64> = experiment.shares().map(|(_, share)| share).collect();
        let mut drawn = rng.random::<f64>();
        let arm = shares.iter().position(|share| {
            drawn -= share;
            drawn < 0.0
        });
        let arm = arm.unwrap_or(0);
        let failures = u64::from(rng.random_bool(0.05));
        let traffic = Traffic { requests: 1, failures, ..Traffic::default() };
        assert!(experiment.add_traffic(&version(arm), NAMES[arm], shares[arm], &traffic));
        // Lopsided: half of the time nothing, else a lot.
        let gain = if rng.random_bool(0.5) { 0.0 } else { -rng.random::<f64>().max(1e-9).ln() } + means[arm];
        assert!(experiment.add_outcome("gain", &version(arm), NAMES[arm], shares[arm], gain).unwrap());
        if !request.is_multiple_of(LOOK_EVERY) {
            continue;
        }
        match experiment.advance(Timestamp::EPOCH).action {
            Action::Hold => {}
            Action::Stop { arms } => stopped.extend(arms),
            _ => break,
        }
    }
    (stopped, experiment.status().clone())
}

/// The least number that events of this probability exceed in one of a hundred such tests at most: exact, by the
/// binomial distribution. Of 400 tests at 0.05 it is 31, which errors twice as likely exceed nine times in ten.
fn limit(tests: u32, probability: f64) -> u32 {
    let (mut term, mut sum, mut events) = ((f64::from(tests) * (-probability).ln_1p()).exp(), 0.0, 0);
    loop {
        sum += term;
        if 1.0 - sum <= 0.01 {
            return events;
        }
        term *= f64::from(tests - events) / f64::from(events + 1) * probability / (1.0 - probability);
        events += 1;
    }
}

#[test]
fn equal_variants_are_promoted_or_stopped_no_more_often_than_alpha() {
    let mut rng = Seed::new(21).rng();
    let (mut promoted, mut stopped) = (0, 0);
    for _ in 0..SIMULATIONS {
        let (arms, status) = simulate(&mut rng, [0.0; 5]);
        promoted += u32::from(matches!(status, Status::Promoted { .. }));
        stopped += u32::from(!arms.is_empty() || status == Status::ControlKept);
    }
    let limit = limit(SIMULATIONS, ALPHA);
    assert!(
        promoted <= limit && stopped <= limit,
        "{promoted} and {stopped} of {SIMULATIONS}: want {limit} at most"
    );
}

#[test]
fn the_variant_that_is_better_is_found_and_the_one_that_is_worse_is_stopped() {
    let mut rng = Seed::new(22).rng();
    let runs = 10;
    let (mut found, mut stopped, mut wrong) = (0, 0, 0);
    for _ in 0..runs {
        let (arms, status) = simulate(&mut rng, [0.0, 0.0, 0.6, 0.0, -0.8]);
        found += u32::from(status == Status::Promoted { arm: "c".into() });
        stopped += u32::from(arms == ["e"]);
        wrong += u32::from(status != Status::Running && status != Status::Promoted { arm: "c".into() });
    }
    assert!(found >= 9 && stopped >= 5 && wrong == 0, "{found} found, {stopped} stopped, {wrong} wrong");
}

#[derive(serde::Deserialize)]
struct Golden {
    alpha: f64,
    families: Vec<Family>,
}

/// Outcomes with counts of several arms, the control first, and what spotify-confidence says of each variant: that
/// it is better, at one look, and corrected for all of them.
#[derive(serde::Deserialize)]
struct Family {
    arms: Vec<Vec<(f64, u32)>>,
    p_values: Vec<f64>,
    bonferroni: Vec<f64>,
    holm: Vec<f64>,
}

#[test]
fn corrections_are_those_of_spotify_and_one_look_at_the_end_is_never_overruled() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/serve/experiments.golden.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut promoted, mut both) = (0, 0);
    for Family { arms, p_values, bonferroni, holm } in &golden.families {
        for (corrected, theirs) in [
            (correction::bonferroni(p_values).unwrap(), bonferroni),
            (correction::holm(p_values).unwrap(), holm),
        ] {
            let close = |(mine, theirs): (&f64, &f64)| (mine - theirs).abs() < 1e-9;
            assert!(corrected.iter().zip(theirs).all(close), "{corrected:?} {theirs:?}");
        }
        let variants = (0..arms.len()).map(|arm| Variant::new(NAMES[arm], version(arm), 1.0));
        let plan = Plan::new(Metric::new("gain").margin(9.0)).alpha(golden.alpha);
        let mut experiment = Experiment::new(plan, variants, Timestamp::EPOCH).unwrap();
        let share = 1.0 / arms.len() as f64;
        for (arm, values) in arms.iter().enumerate() {
            for (value, count) in values {
                for _ in 0..*count {
                    assert!(
                        experiment.add_outcome("gain", &version(arm), NAMES[arm], share, *value).unwrap()
                    );
                }
            }
        }
        // One look at a size that was fixed before sees more than one of many looks.
        let theirs = holm.iter().any(|p_value| *p_value <= golden.alpha);
        both += u32::from(theirs);
        if let Action::Promote { arm } = experiment.decide(Timestamp::EPOCH).action {
            let place = NAMES.iter().position(|name| *name == arm).unwrap();
            assert!(holm[place - 1] <= golden.alpha, "{arm}: {holm:?}");
            promoted += 1;
        }
    }
    assert!(promoted >= 8 && both >= promoted, "{promoted} of {both}");
}

#[test]
fn an_endpoint_runs_an_experiment() {
    let endpoint = Endpoint::new("shop", SystemClock::new());
    let models = [0, 1, 2].map(|arm| model(arm as u64 + 1, move |x| x + arm as f32));
    let arms = || NAMES.iter().zip(&models).map(|(name, model)| ArmSpec::new(*name, Arc::clone(model), 1.0));
    let variants =
        || NAMES.iter().take(3).enumerate().map(|(arm, name)| Variant::new(*name, version(arm), 1.0));
    let plan = Plan::new(Metric::new("gain"));
    let mut experiment = Experiment::new(plan, variants(), Timestamp::EPOCH).unwrap();
    let error = endpoint.apply_experiment(&experiment).unwrap_err().to_string();
    assert_eq!(error, "`shop` has no arm `champion`: load shop/1 and give it to `deploy` first");
    endpoint.deploy(Arc::clone(&models[0])).unwrap();
    let error = endpoint.apply_experiment(&experiment).unwrap_err().to_string();
    assert_eq!(error, "`shop` has no arm `b`: load shop/2 and give it to `set_arms` first");
    endpoint.set_arms(arms().collect()).unwrap();
    endpoint.apply_experiment(&experiment).unwrap();

    // What `c` answers is better, what `b` answers does harm.
    let mut ended = None;
    for number in 0..4000 {
        let answer = endpoint.score(id(number), &row()).unwrap();
        let origin = &answer.origin;
        let gain = [0.0, -1.0, 1.0][origin.version.version as usize - 1] + (number % 10) as f64;
        assert!(
            experiment.add_outcome("gain", &origin.version, &origin.arm, origin.propensity, gain).unwrap()
        );
        for arm in endpoint.take_traffic() {
            assert!(experiment.add_traffic(&arm.version, &arm.arm, arm.propensity, &arm.traffic));
        }
        let decision = experiment.advance(Timestamp::EPOCH);
        endpoint.apply_experiment(&experiment).unwrap();
        let weights: Vec<(String, f64)> =
            endpoint.arms().into_iter().map(|arm| (arm.name, arm.weight)).collect();
        match decision.action {
            Action::Hold => {}
            Action::Stop { .. } => assert_eq!(weights, [("champion".into(), 0.5), ("c".into(), 0.5)]),
            action => {
                ended = Some(action);
                break;
            }
        }
    }
    assert_eq!(ended, Some(Action::Promote { arm: "c".into() }));
    endpoint.apply_experiment(&experiment).unwrap();
    let champion = endpoint.arms().remove(0);
    assert_eq!(
        (champion.name.as_str(), champion.model.version(), endpoint.arms().len()),
        ("champion", &version(2), 1)
    );

    // A hotfix is not overwritten.
    endpoint.deploy(model(9, |x| x)).unwrap();
    assert!(endpoint.apply_experiment(&experiment).unwrap_err().to_string().contains("holds shop/9"));
}
