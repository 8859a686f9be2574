//! What packages and stores hold for serving, as any bytes: a typed error, or a value that can be used.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_core::data::Value;
use mlops_core::{ElementType, ModelSignature, ModelVersion, TensorSpec, Timestamp};
use mlops_serve::endpoint::{Golden, Head, Model};
use mlops_serve::post::Calibration;
use mlops_serve::rollout::experiment::{self, Experiment};
use mlops_serve::rollout::{Plan, Rollout, Traffic};
use mlops_serve::runtime::FnRuntime;
use mlops_serve::{Latencies, Split};

fn model() -> Model {
    let signature = ModelSignature {
        inputs: vec![TensorSpec::batch("x", ElementType::F32, 1)],
        outputs: vec![TensorSpec::batch("y", ElementType::F32, 1)],
    };
    let runtime = FnRuntime::new("same", signature, |inputs, outputs| {
        let scores = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
        scores.copy_from_slice(inputs[0].values::<f32>()?);
        Ok(())
    });
    Model::new(ModelVersion::new("shop", 1), runtime.expect("a signature")).expect("a model")
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(golden) = Golden::from_json(bytes) {
        let _ = golden.check(&model());
        assert_eq!(Golden::from_json(&golden.to_json().expect("it was JSON")).expect("as written"), golden);
    }
    if let Ok(head) = serde_json::from_slice::<Head>(bytes)
        && let Ok(model) = model().with_head(&head)
    {
        let _ = model.score(&[Value::Float(1.0)]);
    }
    if let Ok(calibration) = serde_json::from_slice::<Calibration>(bytes) {
        for score in [f64::NEG_INFINITY, -1.0, 0.0, 0.5, 1.0, f64::MAX, f64::NAN] {
            let probability = calibration.probability(score);
            assert!(score.is_nan() || (0.0..=1.0).contains(&probability), "{score} became {probability}");
        }
    }
    if let Ok(plan) = serde_json::from_slice::<Plan>(bytes) {
        let _ = plan.check();
    }
    if let Ok(mut rollout) = serde_json::from_slice::<Rollout>(bytes) {
        let (champion, challenger) = (rollout.champion().clone(), rollout.challenger().clone());
        let weight = rollout.challenger_weight();
        let traffic = Traffic { requests: 3, failures: 1, ..Traffic::default() };
        rollout.add_traffic(&champion, "champion", 1.0 - weight, &traffic);
        rollout.add_traffic(&challenger, "challenger", weight, &traffic);
        let _ = rollout.add_outcome("loss", &challenger, "challenger", weight, 0.5);
        let twin = rollout.clone();
        let _ = rollout.merge(&twin);
        for _ in 0..8 {
            rollout.advance(Timestamp::EPOCH);
        }
    }
    if let Ok(plan) = serde_json::from_slice::<experiment::Plan>(bytes) {
        let _ = plan.check();
    }
    if let Ok(mut experiment) = serde_json::from_slice::<Experiment>(bytes) {
        let arms: Vec<_> = experiment.shares().map(|(variant, share)| (variant.clone(), share)).collect();
        let goal = experiment.plan().goal.name.clone();
        let traffic = Traffic { requests: 3, failures: 1, ..Traffic::default() };
        for (variant, share) in &arms {
            experiment.add_traffic(&variant.version, &variant.name, *share, &traffic);
            let _ = experiment.add_outcome(&goal, &variant.version, &variant.name, *share, 0.5);
        }
        let twin = experiment.clone();
        let _ = experiment.merge(&twin);
        for _ in 0..8 {
            experiment.advance(Timestamp::EPOCH);
        }
        let shares: f64 = experiment.shares().map(|(_, share)| share).sum();
        assert!((shares - 1.0).abs() < 1e-9, "shares sum to {shares}");
    }
    if let Ok(split) = serde_json::from_slice::<Split>(bytes) {
        let _ = split.assign(b"visitor");
    }
    if let Ok(latencies) = serde_json::from_slice::<Latencies>(bytes) {
        let _ = (latencies.count(), latencies.quantile_ns(0.99), latencies.slower_than(1000));
    }
});
