//! The loader for the formats that we know.

use bytes::Bytes;
use mlops_core::{Clock, Error, ModelPackage, Result};

use super::loader::zeros;
use super::{Golden, Loader};
use crate::runtime::{AutoRuntime, NativeRuntime, Runtime};
#[cfg(feature = "ort")]
use crate::runtime::{OrtLibrary, OrtOptions, OrtRuntime};
use crate::tensor::{TensorBuf, TensorView};

impl Loader {
    /// A loader for packages with one model file: ONNX, LightGBM's text or XGBoost's JSON, told by its content.
    ///
    /// Our own kernels compute it. With the feature `tract`, graphs of ONNX that the kernels do not know go to
    /// tract, and where both can, the faster one is chosen for each batch size (see [`AutoRuntime`]).
    ///
    /// The model file is the only one that ends in `.onnx`; if there is none, the only one that ends in `.txt` or
    /// `.json` and is none of this loader's own.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use mlops_core::onnx::LinearModel;
    /// use mlops_core::{Digest, ModelFile, ModelPackage, ModelSignature, ModelVersion, SystemClock};
    /// use mlops_serve::endpoint::Loader;
    ///
    /// let bytes = LinearModel::new(vec![1.0, -1.0], 0.5).to_bytes()?;
    /// let files = BTreeMap::from([("model.onnx".into(), (Digest::of(&bytes), ModelFile::Bytes(bytes)))]);
    /// let package = ModelPackage::new(ModelVersion::new("shop", 3), ModelSignature::default(), files);
    /// let model = Loader::auto(SystemClock::new()).load(&package)?;
    /// assert_eq!(model.row_width()?, 2);
    /// # Ok::<(), mlops_serve::Error>(())
    /// ```
    pub fn auto(clock: impl Clock) -> Self {
        Self::new(move |package| {
            let bytes = model_file(package)?;
            choose(candidates(&bytes), &clock)
        })
    }

    /// As [`auto`](Self::auto), with ONNX Runtime as one more choice.
    #[cfg(feature = "ort")]
    pub fn auto_with_ort(clock: impl Clock, library: OrtLibrary, options: OrtOptions) -> Self {
        Self::new(move |package| {
            let bytes = model_file(package)?;
            let mut candidates = candidates(&bytes);
            let ort = OrtRuntime::from_bytes(&library, &bytes, &options);
            candidates.push(("ort", ort.map(|runtime| Box::new(runtime) as Box<dyn Runtime>)));
            choose(candidates, &clock)
        })
    }
}

type Candidates = Vec<(&'static str, Result<Box<dyn Runtime>>)>;

fn candidates(bytes: &Bytes) -> Candidates {
    let native = NativeRuntime::from_bytes(bytes).map(|runtime| Box::new(runtime) as Box<dyn Runtime>);
    #[allow(unused_mut, reason = "one candidate without the feature")]
    let mut candidates: Candidates = vec![("native", native)];
    #[cfg(feature = "tract")]
    {
        let tract = crate::runtime::TractRuntime::from_onnx(bytes);
        candidates.push(("tract", tract.map(|runtime| Box::new(runtime) as Box<dyn Runtime>)));
    }
    candidates
}

/// The fastest; without a choice the only one, or why it cannot.
fn choose(mut candidates: Candidates, clock: &dyn Clock) -> Result<Box<dyn Runtime>> {
    /// Rows of the sample.
    const ROWS: usize = 2;
    let can = candidates.iter().filter(|(_, candidate)| candidate.is_ok()).count();
    if can < 2 {
        let place = candidates.iter().position(|(_, candidate)| candidate.is_ok());
        if candidates.len() == 1 || place.is_some() {
            return candidates.swap_remove(place.unwrap_or_default()).1;
        }
    }
    let signature = candidates.iter().find_map(|(_, candidate)| candidate.as_ref().ok());
    let sample = signature.map_or_else(|| Ok(Vec::new()), |runtime| zeros(runtime.signature(), ROWS))?;
    let sample: Vec<TensorView<'_>> = sample.iter().map(TensorBuf::view).collect();
    Ok(Box::new(AutoRuntime::measure(candidates, &sample, clock)?))
}

fn model_file(package: &ModelPackage) -> Result<Bytes> {
    const OURS: [&str; 4] = [Loader::ENCODER_FILE, Loader::HEAD_FILE, Loader::CALIBRATION_FILE, Golden::FILE];
    let ending = |endings: &[&str]| -> Vec<&String> {
        let names = package.files.keys().filter(|name| !OURS.contains(&name.as_str()));
        names.filter(|name| endings.iter().any(|ending| name.ends_with(ending))).collect()
    };
    let onnx = ending(&[".onnx"]);
    let found = if onnx.is_empty() { ending(&[".txt", ".json"]) } else { onnx };
    match found[..] {
        [name] => package.read(name),
        _ => {
            let names: Vec<&String> = package.files.keys().collect();
            Err(Error::data(format!(
                "{} files of {} may be the model, among {names:?}: want one that ends in .onnx, .txt or .json",
                found.len(),
                package.id
            )))
        }
    }
}
