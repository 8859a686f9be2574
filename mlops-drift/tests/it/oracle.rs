//! The recorded runs and the inputs that they were recorded on.

use mlops_core::Digest;
use serde_json::Value;

pub(crate) fn read(name: &str) -> Value {
    let path = format!("{}/../testdata/drift/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// S. Vigna's SplitMix64 as uniform numbers in 0..1.
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

pub(crate) fn uniforms(seed: u64, n: usize) -> Vec<f64> {
    let mut random = SplitMix64::new(seed);
    (0..n).map(|_| random.uniform()).collect()
}

pub(crate) fn normals(seed: u64, n: usize, mean: f64, deviation: f64) -> Vec<f64> {
    let mut random = SplitMix64::new(seed);
    (0..n).map(|_| mean + deviation * random.normal()).collect()
}

fn bernoullis(seed: u64, n: usize, p: f64) -> Vec<f64> {
    uniforms(seed, n).into_iter().map(|u| f64::from(u8::from(u < p))).collect()
}

fn check_digest(values: &[f64], want: &Value, name: &str) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(Digest::of(bytes).to_string(), want.as_str().unwrap(), "{name}");
}

/// A stream by name; `None` if its values are not on record.
pub(crate) fn stream(name: &str, record: &Value) -> Option<Vec<f64>> {
    let n = record["n"].as_u64().unwrap() as usize;
    let values = if let Some(bits) = record["bits_hex_msb_first"].as_str() {
        let bit = |index: usize| {
            let digit = (bits.as_bytes()[index / 4] as char).to_digit(16).unwrap();
            f64::from(digit >> (3 - index % 4) & 1)
        };
        (0..n).map(bit).collect()
    } else {
        let normals = |seed| normals(seed, n, 0.0, 1.0).into_iter().enumerate();
        match name {
            "normal_sudden" => normals(11).map(|(i, x)| if i < 2000 { x } else { 0.75 + x }).collect(),
            "normal_incremental" => {
                normals(13).map(|(i, x)| (2.0 * (i as f64 - 2000.0) / 2000.0).clamp(0.0, 2.0) + x).collect()
            }
            "normal_stationary" => normals(14).map(|(_, x)| x).collect(),
            "constant_step" => (0..n).map(|i| if i < 1000 { 0.5 } else { 0.6 }).collect::<Vec<_>>(),
            _ => return None,
        }
    };
    check_digest(&values, &record["sha256_f64le"], name);
    Some(values)
}

/// A pair of samples by name.
pub(crate) fn pair(name: &str, record: &Value) -> (Vec<f64>, Vec<f64>) {
    if record["a"].is_array() {
        let list = |side: &str| {
            let number =
                |value: &Value| value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap());
            record[side].as_array().unwrap().iter().map(number).collect()
        };
        return (list("a"), list("b"));
    }
    let normal = |first: (u64, usize), second: (u64, usize, f64, f64)| {
        (normals(first.0, first.1, 0.0, 1.0), normals(second.0, second.1, second.2, second.3))
    };
    let floors = |seed, n, k: f64| uniforms(seed, n).into_iter().map(|u| (u * k).floor()).collect::<Vec<_>>();
    let (a, b) = match name {
        "n15_15" => normal((101, 15), (102, 15, 0.8, 1.0)),
        "n24_26" => normal((105, 24), (106, 26, 0.9, 1.0)),
        "n100_100" => normal((107, 100), (108, 100, 0.3, 1.0)),
        "n1000_1000" => normal((111, 1000), (112, 1000, 0.1, 1.0)),
        "n1000_777" => normal((115, 1000), (116, 777, 0.1, 1.2)),
        "n5000_300" => normal((117, 5000), (118, 300, 0.2, 1.0)),
        "n20000_20000" => normal((119, 20_000), (120, 20_000, 0.02, 1.0)),
        "n10000_9999" => normal((123, 10_000), (124, 9_999, 0.02, 1.0)),
        "u500_500" => (uniforms(125, 500), uniforms(126, 500)),
        "int3_500" => (floors(129, 500, 3.0), floors(130, 600, 4.0)),
        "bin_800_900" => (bernoullis(131, 800, 0.3), bernoullis(132, 900, 0.35)),
        "bin_1500_1500" => (bernoullis(133, 1500, 0.3), bernoullis(134, 1500, 0.36)),
        "heavy_tail_outlier" => {
            let (a, mut b) = normal((135, 1000), (136, 999, 0.0, 1.0));
            b.push(1e6);
            (a, b)
        }
        "shift_big" => normal((137, 2000), (138, 2000, 5.0, 1.0)),
        _ => panic!("unknown pair {name}"),
    };
    check_digest(&a, &record["sha256_f64le"][0], name);
    check_digest(&b, &record["sha256_f64le"][1], name);
    (a, b)
}

/// Relative agreement; equal infinities agree, numbers below the smallest normal one are 0.
pub(crate) fn close(got: f64, want: f64, tolerance: f64) -> bool {
    got == want || (got - want).abs() <= tolerance * want.abs().max(f64::MIN_POSITIVE / tolerance)
}

/// A recorded number, also one that JSON cannot hold.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}
