//! Always-valid and fixed-sample statistics.

mod always_valid;
mod covaried;
mod fixed;
mod golden;
mod laws;
mod sequences;

use std::sync::OnceLock;

use serde_json::Value;

/// The cases that scipy and statsmodels answered.
fn fixed_case(name: &str) -> &'static Value {
    static CASES: OnceLock<Value> = OnceLock::new();
    let cases = CASES.get_or_init(|| {
        serde_json::from_str(include_str!("../../../../testdata/experiment/fixed.json")).unwrap()
    });
    let case = cases["cases"].as_array().unwrap().iter().find(|case| case["name"] == name);
    case.unwrap_or_else(|| panic!("no case `{name}`"))
}

/// The cases of this name that `two_arm.py` wrote.
fn two_arm_cases(name: &str) -> impl Iterator<Item = &'static Value> {
    static CASES: OnceLock<Value> = OnceLock::new();
    let cases = CASES.get_or_init(|| {
        serde_json::from_str(include_str!("../../../../testdata/experiment/two_arm.json")).unwrap()
    });
    let found: Vec<&Value> =
        cases["cases"].as_array().unwrap().iter().filter(|case| case["name"] == name).collect();
    assert!(!found.is_empty(), "no cases `{name}`");
    found.into_iter()
}

/// The cases of this name that `more.py` wrote.
fn more_cases(name: &str) -> impl Iterator<Item = &'static Value> {
    static CASES: OnceLock<Value> = OnceLock::new();
    let cases = CASES.get_or_init(|| {
        serde_json::from_str(include_str!("../../../../testdata/experiment/more.json")).unwrap()
    });
    let found: Vec<&Value> =
        cases["cases"].as_array().unwrap().iter().filter(|case| case["name"] == name).collect();
    assert!(!found.is_empty(), "no cases `{name}`");
    found.into_iter()
}

/// What confseq answered to the cases of this name.
fn confseq(prefix: &str) -> &'static Value {
    static CASES: OnceLock<Value> = OnceLock::new();
    let cases = CASES.get_or_init(|| {
        serde_json::from_str(include_str!("../../../../testdata/experiment/confseq.json")).unwrap()
    });
    let found = cases["cases"].as_object().unwrap().iter().find(|(name, _)| name.starts_with(prefix));
    found.unwrap_or_else(|| panic!("no cases `{prefix}`")).1
}

fn confseq_cases(prefix: &str) -> &'static serde_json::Map<String, Value> {
    confseq(prefix).as_object().unwrap()
}

fn confseq_intervals(prefix: &str) -> Vec<Vec<f64>> {
    confseq(prefix).as_array().unwrap().iter().map(numbers).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn counts(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
}

#[track_caller]
fn close(actual: f64, expected: f64, tolerance: f64) {
    let error = (actual - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "{actual} is {error:e} from {expected}");
}
