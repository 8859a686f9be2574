//! Two-sample tests and distances against SciPy, NumPy and Evidently.

use mlops_drift::Sample;
use mlops_drift::special::{kolmogorov_sf, kstwo_sf};
use mlops_drift::two_sample::{Alternative, Method, kolmogorov_smirnov_with};
use serde_json::Value;

use crate::oracle::{close, number, pair, read};

/// Calls `check` with each recorded row of a test and the samples, if they are samples.
fn rows(lib: &str, test: &str, mut check: impl FnMut(&str, &Sample, &Sample, &Value)) -> usize {
    let oracle = read("batch.json");
    let mut count = 0;
    for row in oracle["rows"].as_array().unwrap() {
        if row["lib"] != lib || row["test"] != test {
            continue;
        }
        let name = row["sample"].as_str().unwrap();
        let (a, b) = pair(name, &oracle["samples"][name]);
        let (Ok(a), Ok(b)) = (Sample::new(a), Sample::new(b)) else { continue };
        check(name, &a, &b, row);
        count += 1;
    }
    count
}

#[test]
fn kolmogorov_distributions_as_scipy() {
    let oracle = read("batch.json");
    for row in oracle["special"]["kstwo_sf"].as_array().unwrap() {
        let (d, n, want) = (number(&row[0]), row[1].as_u64().unwrap(), number(&row[2]));
        let got = kstwo_sf(d, n);
        assert!(close(got, want, 1e-10), "kstwo_sf({d}, {n}) = {got}, want {want}");
    }
    for row in oracle["special"]["kstwobign_sf"].as_array().unwrap() {
        let (z, want) = (number(&row[0]), number(&row[1]));
        let got = kolmogorov_sf(z);
        assert!(close(got, want, 1e-12), "kolmogorov_sf({z}) = {got}, want {want}");
    }
}

#[test]
fn kolmogorov_smirnov_as_scipy() {
    let (mut checked, mut fell_back) = (0, 0);
    rows("scipy", "ks_2samp", |name, a, b, row| {
        let (settings, want) = (&row["settings"], &row["value"]);
        let alternative = match settings["alternative"].as_str().unwrap() {
            "two-sided" => Alternative::TwoSided,
            "less" => Alternative::Less,
            _ => Alternative::Greater,
        };
        let method = match settings["method"].as_str().unwrap() {
            "auto" => Method::Auto,
            "exact" => Method::Exact,
            _ => Method::Asymptotic,
        };
        let got = kolmogorov_smirnov_with(a, b, alternative, method).unwrap();
        let (statistic, p) = (number(&want[0]), number(&want[1]));
        assert!(close(got.statistic, statistic, 1e-12), "{name} {settings}: {} {statistic}", got.statistic);
        checked += 1;
        if row["warnings"].to_string().contains("Exact calculation unsuccessful") {
            // SciPy's exact sum overflowed or exceeded 1, so it gave the asymptotic p-value. Ours is exact: see
            // the enumeration beside the code.
            let asymptotic = kolmogorov_smirnov_with(a, b, alternative, Method::Asymptotic).unwrap();
            assert!(close(asymptotic.p_value, p, 1e-10), "{name} {settings}: {} {p}", asymptotic.p_value);
            assert!(close(got.p_value, p, 0.5), "{name} {settings}: {} {p}", got.p_value);
            fell_back += 1;
        } else if p.is_nan() {
            // SciPy's effective sample size is 0 there.
            assert_eq!(got.p_value, 1.0, "{name} {settings}");
        } else {
            assert!(close(got.p_value, p, 1e-10), "{name} {settings}: {} {p}", got.p_value);
        }
    });
    assert_eq!((checked, fell_back), (192, 18));
}
