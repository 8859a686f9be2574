//! The recorded cases and how a value is held against one.

use serde_json::Value;

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) input: Value,
    pub(crate) expected: Value,
}

/// The cases whose name is `family` or starts with `family/`; at least one. Several classes have names of their
/// own, as `multiclass:mcc`.
pub(crate) fn cases(family: &str) -> Vec<Case> {
    let (several, family) = family.split_once(':').map_or((false, family), |(_, family)| (true, family));
    let texts = [
        include_str!("../../../../testdata/evaluation/metrics.json"),
        include_str!("../../../../testdata/evaluation/more.json"),
    ];
    let files = texts.map(|text| serde_json::from_str::<Value>(text).unwrap());
    let all = files.iter().flat_map(|file| file["cases"].as_array().unwrap());
    let suited = all.filter(|case| (case["suite"] == "multiclass") == several);
    let named = suited.filter(|case| case["name"].as_str().unwrap().split('/').next() == Some(family));
    let found: Vec<Case> = named
        .map(|case| Case {
            name: case["name"].as_str().unwrap().to_owned(),
            input: case["input"].clone(),
            expected: case["expected"].clone(),
        })
        .collect();
    assert!(!found.is_empty(), "no case of {family}");
    found
}

impl Case {
    pub(crate) fn numbers(&self, field: &str) -> Vec<f64> {
        numbers(&self.input[field])
    }

    pub(crate) fn labels(&self, field: &str) -> Vec<bool> {
        self.numbers(field).into_iter().map(|label| label == 1.0).collect()
    }

    /// The codes of a categorical column as text.
    pub(crate) fn texts(&self, field: &str) -> Vec<String> {
        self.input[field].as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    /// Holds a value against the whole expectation.
    pub(crate) fn expect(&self, actual: Option<f64>) {
        agree(&self.name, actual, &self.expected);
    }

    /// Holds a value against one field of the expectation.
    pub(crate) fn expect_field(&self, field: &str, actual: Option<f64>) {
        agree(&format!("{} {field}", self.name), actual, &self.expected[field]);
    }
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Undefined values and refused input are `None` here; everything else agrees within 1e-12.
pub(crate) fn agree(what: &str, actual: Option<f64>, expected: &Value) {
    let wanted = match expected {
        Value::Object(mark) if mark.contains_key("inf") => {
            Some(f64::INFINITY * mark["inf"].as_f64().unwrap())
        }
        Value::Object(mark) if mark.contains_key("nan") || mark.contains_key("error") => None,
        number => Some(number.as_f64().unwrap_or_else(|| panic!("{what}: {number} is no number"))),
    };
    let close = match (actual, wanted) {
        (Some(actual), Some(wanted)) => {
            actual == wanted || (actual - wanted).abs() <= 1e-12 * wanted.abs().max(1.0)
        }
        (actual, wanted) => actual == wanted,
    };
    assert!(close, "{what}: {actual:?}, expected {expected}");
}
