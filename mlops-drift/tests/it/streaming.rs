//! Detectors against recorded runs of river and MOA, update by update.

use mlops_drift::detector::*;

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
                let warned = detector.signal().is_warning();
                let signal = detector.update(*value).unwrap();
                assert_eq!(signal, detector.signal());
                assert_eq!(detector.reason().is_some(), signal.is_drift() || signal.is_warning());
                if signal.is_drift() {
                    drifts.push(index as u64);
                    // river's EDDM leaves its warning flag as it was beside the drift flag.
                    if warned && tool == "river" && settings.starts_with("EDDM") {
                        warnings.push(index as u64);
                    }
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
            let Some(settings) = river_adwin(settings).filter(|settings| settings.clock > 1) else {
                continue;
            };
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

#[test]
fn eddm_as_river_and_moa() {
    let river = check("river", |settings| {
        let river = EddmSettings::river();
        match settings {
            "EDDM()" => boxed(Eddm::new(river).unwrap()),
            "EDDM(alpha=0.98,beta=0.95)" => {
                boxed(Eddm::new(EddmSettings { warning: 0.98, drift: 0.95, ..river }).unwrap())
            }
            _ => None,
        }
    });
    let moa = check("moa", |settings| {
        (settings == "EDDM").then(|| boxed(Eddm::new(EddmSettings::moa()).unwrap()))?
    });
    assert_eq!((river, moa), (16, 8));
}

#[test]
fn hddm_a_as_river_and_moa() {
    let river = check("river", |settings| {
        let river = HddmASettings::river();
        boxed(
            HddmA::new(match settings {
                "HDDMA()" => river,
                "HDDMA(two_sided)" => HddmASettings { decrease: Decrease::Report, ..river },
                "HDDMA(0.01,0.05)" => HddmASettings { drift: 0.01, warning: 0.05, ..river },
                _ => return None,
            })
            .unwrap(),
        )
    });
    let moa = check("moa", |settings| {
        let decrease = match settings {
            "HDDM_A_one" => Decrease::Ignore,
            "HDDM_A_two" => Decrease::Restart,
            _ => return None,
        };
        boxed(HddmA::new(HddmASettings { decrease, ..HddmASettings::moa() }).unwrap())
    });
    assert_eq!((river, moa), (24, 16));
}

#[test]
fn hddm_w_as_river_and_moa() {
    let river = check("river", |settings| {
        let river = HddmWSettings::river();
        boxed(
            HddmW::new(match settings {
                "HDDMW()" => river,
                "HDDMW(two_sided)" => HddmWSettings { decrease: Decrease::Report, ..river },
                "HDDMW(lambda=0.2)" => HddmWSettings { lambda: 0.2, ..river },
                _ => return None,
            })
            .unwrap(),
        )
    });
    let moa = check("moa", |settings| {
        let decrease = match settings {
            "HDDM_W_one" => Decrease::Ignore,
            "HDDM_W_two" => Decrease::Restart,
            _ => return None,
        };
        boxed(HddmW::new(HddmWSettings { decrease, ..HddmWSettings::moa() }).unwrap())
    });
    assert_eq!((river, moa), (24, 16));
}

#[test]
fn page_hinkley_as_river_and_moa() {
    let river = check("river", |settings| {
        let river = PageHinkleySettings::river();
        let ten = PageHinkleySettings { threshold: 10.0, ..river.clone() };
        boxed(
            PageHinkley::new(match settings {
                "PageHinkley()" => river,
                "PageHinkley(threshold=10)" => ten,
                "PageHinkley(threshold=10,mode=up)" => {
                    PageHinkleySettings { direction: Direction::Up, ..ten }
                }
                "PageHinkley(threshold=10,mode=down)" => {
                    PageHinkleySettings { direction: Direction::Down, ..ten }
                }
                "PageHinkley(delta=0.05,threshold=20,alpha=1.0)" => {
                    PageHinkleySettings { delta: 0.05, threshold: 20.0, alpha: 1.0, ..river }
                }
                _ => return None,
            })
            .unwrap(),
        )
    });
    let moa = check("moa", |settings| {
        let threshold = match settings {
            "PageHinkley" => 50.0,
            "PageHinkley_l10" => 10.0,
            _ => return None,
        };
        boxed(PageHinkley::new(PageHinkleySettings { threshold, ..PageHinkleySettings::moa() }).unwrap())
    });
    assert_eq!((river, moa), (60, 24));
}

#[test]
fn cusum_gma_ecdd_stepd_and_rddm_as_moa() {
    let runs = check("moa", |settings| match settings {
        "CUSUM" => boxed(Cusum::new(CusumSettings::default()).unwrap()),
        "CUSUM_l10" => {
            boxed(Cusum::new(CusumSettings { threshold: 10.0, ..CusumSettings::default() }).unwrap())
        }
        "GMA" => boxed(Gma::new(GmaSettings::default()).unwrap()),
        "GMA_l0.1" => boxed(Gma::new(GmaSettings { threshold: 0.1, ..GmaSettings::default() }).unwrap()),
        "EWMAChart" => boxed(Ecdd::new(EcddSettings::default()).unwrap()),
        "STEPD" => boxed(Stepd::new(StepdSettings::moa()).unwrap()),
        "RDDM" => boxed(Rddm::new(RddmSettings::default()).unwrap()),
        _ => None,
    });
    assert_eq!(runs, 4 * 12 + 3 * 8);
}

#[test]
fn kswin_and_fhddm_as_river() {
    let runs = check("river", |settings| match settings {
        "KSWIN(seed=42)" => boxed(Kswin::new(KswinSettings::river(42)).unwrap()),
        "KSWIN(alpha=0.0001,window_size=200,stat_size=50,seed=7)" => {
            let settings =
                KswinSettings { alpha: 0.0001, window: 200, recent: 50, ..KswinSettings::river(7) };
            boxed(Kswin::new(settings).unwrap())
        }
        "FHDDM()" => boxed(Fhddm::new(FhddmSettings::river()).unwrap()),
        "FHDDM(short=25)" => {
            boxed(Fhddm::new(FhddmSettings { short_window: Some(25), ..FhddmSettings::river() }).unwrap())
        }
        "FHDDM(200,1e-3)" => {
            boxed(Fhddm::new(FhddmSettings { window: 200, delta: 1e-3, ..FhddmSettings::river() }).unwrap())
        }
        _ => None,
    });
    assert_eq!(runs, 38);
}
