//! Whatever bytes were stored: a typed error, or a state that can go on and says nothing that is not a number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mlops_core::evaluation::bias::{BiasRow, Contingency};
use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow};
use mlops_core::evaluation::business::{BusinessMetrics, UserOutcome};
use mlops_core::evaluation::paired::{PairedBinary, PairedRow};
use mlops_core::evaluation::ranking::{Catalogue, Gauc, ListMetrics, ListRow, RankingMetrics};
use mlops_core::evaluation::regression::{RegressionMetrics, RegressionRow};
use mlops_core::evaluation::{Evaluation, Gate, MetricState};
use mlops_core::experiment::sequence::{Betting, PredictableMixture, Sequence, difference};
use mlops_core::experiment::{
    Covaried, MeanDifference, Moments, Proportion, RateDifference, SampleRatio, TwoArm,
};
use serde_json::from_slice;

fn go_on<S: MetricState>(mut state: S, row: &S::Row) {
    let _ = state.push(row);
    let _ = state.merge(&state.clone());
    assert!(state.metrics().values().all(|metric| !metric.value.is_nan()));
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(state) = from_slice::<BinaryMetrics>(bytes) {
        go_on(state, &BinaryRow::new(true, 0.5));
    }
    if let Ok(state) = from_slice::<RegressionMetrics>(bytes) {
        go_on(state, &RegressionRow::new(1.0, 2.0));
    }
    if let Ok(state) = from_slice::<PairedBinary>(bytes) {
        go_on(state, &PairedRow { label: true, candidate: 0.9, champion: 0.2 });
    }
    if let Ok(state) = from_slice::<BusinessMetrics>(bytes) {
        go_on(state, &UserOutcome { impressions: 2, clicks: 1, conversions: 1, revenue: 3.0 });
    }
    if let Ok(state) = from_slice::<Catalogue>(bytes) {
        go_on(state, &vec![0]);
    }
    if let Ok(state) = from_slice::<Gauc>(bytes) {
        go_on(state, &vec![(true, 0.5), (false, 0.1)]);
    }
    if let Ok(mut state) = from_slice::<RankingMetrics>(bytes) {
        let _ = state.merge(&state.clone());
        let _ = state.metrics();
    }
    if let Ok(mut table) = from_slice::<Contingency>(bytes) {
        let _ = table.merge(&table.clone());
        let facets: Vec<String> = table.facets().map(str::to_owned).collect();
        for facet in &facets {
            let _ = table.bias(facet).map(|bias| bias.metrics());
        }
        let _ = table.gaps().metrics();
        go_on(table, &BiasRow::new("new", true, false));
    }
    if let Ok(state) = from_slice::<ListMetrics>(bytes) {
        go_on(state, &ListRow::default());
    }
    if let Ok((gate, evaluation)) = from_slice::<(Gate, Evaluation)>(bytes) {
        let _ = gate.against().champion(&evaluation).check(&evaluation).to_string();
    }
    if let Ok(mut arms) = from_slice::<TwoArm<Moments>>(bytes) {
        let _ = arms.merge(&arms.clone());
        let answer = MeanDifference::default().compare(&arms).unwrap();
        assert!((0.0..=1.0).contains(&answer.p_value));
    }
    if let Ok(mut arms) = from_slice::<TwoArm<Covaried>>(bytes) {
        let _ = arms.merge(&arms.clone());
        if let Ok(adjusted) = arms.adjusted() {
            let answer = MeanDifference::default().compare(&adjusted).unwrap();
            assert!((0.0..=1.0).contains(&answer.p_value));
        }
    }
    if let Ok(arms) = from_slice::<TwoArm<PredictableMixture>>(bytes)
        && let Ok(answer) = difference(&arms, 0.1)
    {
        assert!((0.0..=1.0).contains(&answer.p_value));
    }
    if let Ok(arms) = from_slice::<TwoArm<Proportion>>(bytes) {
        let answer = RateDifference::default().compare(&arms).unwrap();
        assert!((0.0..=1.0).contains(&answer.p_value));
    }
    if let Ok(mut sequence) = from_slice::<PredictableMixture>(bytes) {
        let _ = (sequence.push(0.5), sequence.interval());
    }
    if let Ok(mut sequence) = from_slice::<Betting>(bytes) {
        let _ = (sequence.push(0.5), sequence.interval());
    }
    if let Ok(plan) = from_slice::<SampleRatio>(bytes) {
        let _ = plan.always_valid(&vec![3; plan.shares().len()]);
    }
});
