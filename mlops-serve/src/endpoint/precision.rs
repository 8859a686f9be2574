//! In which numbers a model file computes.

use std::fmt;

/// The precision of a model file, told by its name: a package may hold one model in several.
///
/// ```
/// use mlops_serve::endpoint::Precision;
///
/// assert_eq!(Precision::of("model.onnx"), Precision::Full);
/// assert_eq!(Precision::of("model.fp16.onnx"), Precision::Half);
/// assert_eq!(Precision::of("model.int8.onnx"), Precision::Int8);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// As it was trained: `model.onnx`.
    Full,
    /// 16-bit floats: `model.fp16.onnx`.
    Half,
    /// Quantised to 8 bits: `model.int8.onnx`. With fixed scales (`quantize_static`) rows stay independent; scaled
    /// dynamically (`quantize_dynamic`), an answer depends on the whole batch: requests are not batched, and golden
    /// rows have to hold alone and all at once.
    Int8,
}

impl Precision {
    /// The precision of a file of this name.
    pub fn of(name: &str) -> Self {
        [Self::Half, Self::Int8].into_iter().find(|one| name.ends_with(one.ending())).unwrap_or(Self::Full)
    }

    /// How the names of such files end.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Full => ".onnx",
            Self::Half => ".fp16.onnx",
            Self::Int8 => ".int8.onnx",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full precision",
            Self::Half => "half precision",
            Self::Int8 => "8 bits",
        })
    }
}
