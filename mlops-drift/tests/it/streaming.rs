//! Detectors against recorded runs of river and MOA, update by update.

use mlops_drift::detector::{Adwin, AdwinSettings, Ddm, DdmSettings, Detector, Direction};

use crate::oracle::{close, number, read, stream};

/// Feeds every recorded stream and compares; `detector` gives `None` for runs of others.
fn check(tool: &str, detector: impl Fn(&str) -> Option<Box<dyn Detector>>) -> usize {
    let oracle = read("streaming.json");
    let mut runs = 0;
    for (name, record) in oracle["streams"].as_object().unwrap() {
        let Some(values) = stream(name, record) else { continue };
        for (settings, run) in oracle[tool]["results"][name].as_object().unwrap() {
            let Some(mut detector) = detector(settings) else { continue };
            let mut drifts = Vec::new();
            let mut warnings = Vec::new();
            for (index, value) in values.iter().enumerate() {
                let signal = detector.update(*value).unwrap();
                assert_eq!(signal, detector.signal());
                assert_eq!(detector.reason().is_some(), signal.is_drift() || signal.is_warning());
                if signal.is_drift() {
                    drifts.push(index as u64);
                } else if signal.is_warning() {
                    warnings.push(index as u64);
                }
            }
            let list = |key: &str| -> Vec<u64> {
                run[key].as_array().unwrap().iter().map(|index| index.as_u64().unwrap()).collect()
            };
            assert_eq!(drifts, list("drift"), "{tool} {settings} on {name}");
            if let Some(count) = run["n_warn"].as_u64() {
                assert_eq!(warnings.len() as u64, count, "{tool} {settings} on {name}");
                warnings.truncate(20);
                assert_eq!(warnings, list("first_warnings"), "{tool} {settings} on {name}");
            }
            runs += 1;
        }
    }
    runs
}

fn boxed<D: Detector + 'static>(detector: D) -> Option<Box<dyn Detector>> {
    Some(Box::new(detector))
}

fn river_adwin(settings: &str) -> Option<AdwinSettings> {
    let river = AdwinSettings::river();
    Some(match settings {
        "ADWIN()" => river,
        "ADWIN(delta=0.05)" => AdwinSettings { delta: 0.05, ..river },
        "ADWIN(delta=0.3)" => AdwinSettings { delta: 0.3, ..river },
        "ADWIN(clock=1)" => AdwinSettings { clock: 1, ..river },
        "ADWIN(delta=0.0002,clock=1)" => AdwinSettings { delta: 0.0002, clock: 1, ..river },
        "ADWIN(max_buckets=2)" => AdwinSettings { max_buckets: 2, ..river },
        "ADWIN(max_buckets=20,clock=1)" => AdwinSettings { max_buckets: 20, clock: 1, ..river },
        "ADWIN(min_window_length=1,clock=1,grace_period=1)" => {
            AdwinSettings { min_window_length: 1, clock: 1, grace_period: 1, ..river }
        }
        "ADWIN(grace_period=500)" => AdwinSettings { grace_period: 500, ..river },
        _ => return None,
    })
}

#[test]
fn adwin_as_river() {
    let runs = check("river", |settings| boxed(Adwin::new(river_adwin(settings)?).unwrap()));
    assert_eq!(runs, 12 * 9);
}

#[test]
fn adwin_tracks_the_same_window_as_river() {
    let oracle = read("streaming.json");
    for (name, record) in oracle["streams"].as_object().unwrap() {
        let Some(values) = stream(name, record) else { continue };
        for (settings, run) in oracle["river"]["results"][name].as_object().unwrap() {
            let Some(settings) = river_adwin(settings) else { continue };
            let mut adwin = Adwin::new(settings).unwrap();
            let mut trace = run["trace"].as_array().unwrap().iter().peekable();
            for (index, value) in values.iter().enumerate() {
                adwin.update(*value).unwrap();
                if let Some(point) = trace.next_if(|point| point[0].as_u64() == Some(index as u64)) {
                    assert_eq!(adwin.width() as f64, number(&point[1]));
                    assert!(close(adwin.total(), number(&point[2]), 1e-12), "{name} {index}");
                    let (got, want) = (adwin.sum_of_squares(), number(&point[3]));
                    assert!(
                        (got - want).abs() <= 1e-12 * want.abs().max(1.0),
                        "{name} {index}: {got} {want}"
                    );
                }
            }
            assert!(trace.next().is_none());
        }
    }
}

#[test]
fn adwin_as_moa() {
    let runs = check("moa", |settings| {
        let delta = match settings {
            "ADWINChangeDetector" | "ADWIN_raw_delta0.002" => 0.002,
            "ADWIN_raw_delta0.05" => 0.05,
            "ADWIN_raw_delta0.3" => 0.3,
            _ => return None,
        };
        // MOA's change detector reports a rising mean only.
        let direction = if settings == "ADWINChangeDetector" { Direction::Up } else { Direction::Both };
        boxed(Adwin::new(AdwinSettings { delta, direction, ..AdwinSettings::moa() }).unwrap())
    });
    assert_eq!(runs, 12 * 4);
}

#[test]
fn ddm_as_river_and_moa() {
    let river = check("river", |settings| match settings {
        "DDM()" => boxed(Ddm::new(DdmSettings::river()).unwrap()),
        "DDM(10,1.5,2.5)" => {
            let settings = DdmSettings { warm_up: 10, warning: 1.5, drift: 2.5, ..DdmSettings::river() };
            boxed(Ddm::new(settings).unwrap())
        }
        _ => None,
    });
    let moa =
        check("moa", |settings| (settings == "DDM").then(|| boxed(Ddm::new(DdmSettings::moa()).unwrap()))?);
    assert_eq!((river, moa), (16, 8));
}

#[test]
fn values_outside_the_domain_are_refused_and_change_nothing() {
    let mut adwin = Adwin::new(AdwinSettings::default()).unwrap();
    let mut ddm = Ddm::new(DdmSettings::default()).unwrap();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(adwin.update(value).is_err());
        assert!(ddm.update(value).is_err());
    }
    for value in [1.5, -0.1] {
        assert!(ddm.update(value).unwrap_err().to_string().contains(&value.to_string()));
    }
    assert_eq!(adwin, Adwin::new(AdwinSettings::default()).unwrap());
    assert_eq!(ddm, Ddm::new(DdmSettings::default()).unwrap());
}
