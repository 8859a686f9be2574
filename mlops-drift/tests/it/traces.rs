//! The state of detectors beside river's every thousand updates, and of ADWIN beside MOA's at the end.

use mlops_drift::Sample;
use mlops_drift::detector::*;
use mlops_drift::two_sample::kolmogorov_smirnov;
use serde_json::Value;

use crate::oracle::{close, number, read, stream};

/// Compares the numbers that `state` takes from a stored detector; how many states there were.
fn check(
    detector: impl Fn(&str) -> Option<AnyDetector>,
    state: impl Fn(&Value) -> Vec<(usize, f64)>,
) -> usize {
    let oracle = read("streaming.json");
    let mut states = 0;
    for (name, record) in oracle["streams"].as_object().unwrap() {
        let Some(values) = stream(name, record) else { continue };
        for (settings, run) in oracle["river"]["results"][name].as_object().unwrap() {
            let Some(mut detector) = detector(settings) else { continue };
            let mut trace = run["trace"].as_array().unwrap().iter().peekable();
            for (index, value) in values.iter().enumerate() {
                detector.update(*value).unwrap();
                let Some(point) = trace.next_if(|point| point[0].as_u64() == Some(index as u64)) else {
                    continue;
                };
                let json = serde_json::to_value(&detector).unwrap();
                let (_, stored) =
                    json.as_object().unwrap().iter().find(|(key, _)| *key != "version").unwrap();
                for (place, got) in state(stored) {
                    let want = number(&point[place]);
                    let near = (got - want).abs() <= 1e-12 * want.abs().max(1.0);
                    assert!(near, "{settings} on {name} at {index}, number {place}: {got} {want}");
                }
                states += 1;
            }
            assert!(trace.next().is_none());
        }
    }
    states
}

#[test]
fn ddm() {
    let states = check(
        |settings| {
            let river = DdmSettings::river();
            let settings = match settings {
                "DDM()" => river,
                "DDM(10,1.5,2.5)" => DdmSettings { warm_up: 10, warning: 1.5, drift: 2.5, ..river },
                _ => return None,
            };
            Some(Ddm::new(settings).unwrap().into())
        },
        |stored| {
            let (count, errors) = (number(&stored["count"]), number(&stored["errors"]));
            let [least, warning] = ["least", "warning"].map(|limit| number(&stored["limits"][limit]));
            let mut state = vec![(1, count), (2, errors / count)];
            if least.is_finite() {
                let deviation = (warning - least) / (number(&stored["settings"]["warning"]) - 1.0);
                state.extend([(3, least - deviation), (4, deviation)]);
            }
            state
        },
    );
    assert_eq!(states, STATES);
}

#[test]
fn eddm() {
    let states = check(
        |settings| {
            let river = EddmSettings::river();
            let settings = match settings {
                "EDDM()" => river,
                "EDDM(alpha=0.98,beta=0.95)" => EddmSettings { warning: 0.98, drift: 0.95, ..river },
                _ => return None,
            };
            Some(Eddm::new(settings).unwrap().into())
        },
        |stored| {
            let [count, errors, mean, squares, most] =
                ["count", "errors", "mean", "squares", "most"].map(|key| number(&stored[key]));
            let variance = if errors > 1.0 { squares / (errors - 1.0) } else { 0.0 };
            vec![(1, count), (2, errors), (3, mean), (4, variance), (5, most)]
        },
    );
    assert_eq!(states, STATES);
}

#[test]
fn hddm_a() {
    let states = check(
        |settings| {
            let river = HddmASettings::river();
            let settings = match settings {
                "HDDMA()" => river,
                "HDDMA(two_sided)" => HddmASettings { decrease: Decrease::Report, ..river },
                "HDDMA(0.01,0.05)" => HddmASettings { drift: 0.01, warning: 0.05, ..river },
                _ => return None,
            };
            Some(HddmA::new(settings).unwrap().into())
        },
        |stored| {
            let means = ["all", "lowest", "highest"].map(|key| &stored[key]);
            let numbers = means.iter().flat_map(|mean| [number(&mean["count"]), number(&mean["value"])]);
            numbers.enumerate().map(|(place, number)| (place + 1, number)).collect()
        },
    );
    assert_eq!(states, STATES / 2 * 3);
}

#[test]
fn hddm_w() {
    let states = check(
        |settings| {
            let river = HddmWSettings::river();
            let settings = match settings {
                "HDDMW()" => river,
                "HDDMW(two_sided)" => HddmWSettings { decrease: Decrease::Report, ..river },
                "HDDMW(lambda=0.2)" => HddmWSettings { lambda: 0.2, ..river },
                _ => return None,
            };
            Some(HddmW::new(settings).unwrap().into())
        },
        |stored| {
            let (all, rise) = (&stored["all"], number(&stored["rise"]["level"]));
            vec![(1, number(&all["value"])), (2, number(&all["squares"])), (3, rise)]
        },
    );
    assert_eq!(states, STATES / 2 * 3);
}

#[test]
fn page_hinkley() {
    let states = check(
        |settings| {
            let river = PageHinkleySettings::river();
            let settings = match settings {
                "PageHinkley()" => river,
                "PageHinkley(threshold=10)" => PageHinkleySettings { threshold: 10.0, ..river },
                "PageHinkley(delta=0.05,threshold=20,alpha=1.0)" => {
                    PageHinkleySettings { delta: 0.05, threshold: 20.0, alpha: 1.0, ..river }
                }
                _ => return None,
            };
            Some(PageHinkley::new(settings).unwrap().into())
        },
        |stored| {
            let keys = ["mean", "rising", "lowest", "falling", "highest"];
            keys.iter().enumerate().map(|(place, key)| (place + 1, number(&stored[key]))).collect()
        },
    );
    assert_eq!(states, 258);
}

/// What river records of KSWIN is the p-value of the last draw.
#[test]
fn kswin() {
    let states = check(
        |settings| match settings {
            "KSWIN(seed=42)" => Some(Kswin::new(KswinSettings::river(42)).unwrap().into()),
            _ => None,
        },
        |stored| {
            // river forgets it after a drift.
            if stored["signal"] == "drift" || stored["values"].as_array().unwrap().len() < 100 {
                return Vec::new();
            }
            // Two samples of 30 with this distance.
            let gap = (number(&stored["distance"]) * 30.0).round() as i32;
            let sample = |from: i32| Sample::new((from..from + 30).map(f64::from)).unwrap();
            vec![(1, kolmogorov_smirnov(&sample(0), &sample(gap)).unwrap().p_value)]
        },
    );
    assert_eq!(states, 26);
}

#[test]
fn adwin_beside_moa() {
    let oracle = read("streaming.json");
    let mut runs = 0;
    for (name, record) in oracle["streams"].as_object().unwrap() {
        let Some(values) = stream(name, record) else { continue };
        for delta in [0.002, 0.05, 0.3] {
            let run = &oracle["moa"]["results"][name][format!("ADWIN_raw_delta{delta}")];
            let mut adwin = Adwin::new(AdwinSettings { delta, ..AdwinSettings::moa() }).unwrap();
            for value in &values {
                adwin.update(*value).unwrap();
            }
            assert_eq!(adwin.width() as f64, number(&run["width"]), "{name}");
            assert!(close(adwin.total(), number(&run["total"]), 1e-12), "{name}");
            let variance = number(&run["variance"]);
            assert!((adwin.sum_of_squares() - variance).abs() <= 1e-12 * variance.max(1.0), "{name}");
            runs += 1;
        }
    }
    assert_eq!(runs, 36);
}

/// Eight streams of errors by two settings, one state a thousand updates.
const STATES: usize = 128;
