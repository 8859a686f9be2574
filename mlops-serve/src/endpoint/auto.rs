//! The loader for the formats that we know.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mlops_core::onnx::{self, ModelProto};
use mlops_core::{Clock, Error, ModelPackage, ModelSignature, Result};

use super::loader::{Built, Reading, dressed, zeros};
use super::{Golden, Loader, Precision};
use crate::runtime::{AutoRuntime, NativeRuntime, Runtime, RuntimeExt};
#[cfg(feature = "ort")]
use crate::runtime::{OrtLibrary, OrtOptions, OrtRuntime};
use crate::tensor::{TensorBuf, TensorView};

impl Loader {
    /// A loader for packages with one model: ONNX, LightGBM's text or XGBoost's JSON or UBJSON, told by its
    /// content.
    ///
    /// Our own kernels compute it. With the feature `tract`, graphs of ONNX that the kernels do not know go to
    /// tract, and where both can, the faster one is chosen for each batch size (see [`AutoRuntime`]). Compared
    /// and measured are the answers to the package's golden rows, encoded as they are served. Without golden
    /// rows these are two rows of zeros, which say little of a forest: a package should have some. A model that
    /// refuses zeros goes to the first engine that loads it.
    ///
    /// What an ONNX model keeps in files beside it (models of more than 2 GiB do) is read from the package too, into
    /// memory.
    ///
    /// The model file is the only one that ends in `.onnx`, or one for each of the
    /// [`precisions`](Self::precisions); if there is none, the only one that ends in `.txt`, `.json` or `.ubj`
    /// and is none of this loader's own.
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
        Self::of_formats(move |reading, precisions| choose(reading, precisions, &engines, &clock))
    }

    /// As [`auto`](Self::auto), with ONNX Runtime as one more choice.
    #[cfg(feature = "ort")]
    pub fn auto_with_ort(clock: impl Clock, library: OrtLibrary, options: OrtOptions) -> Self {
        Self::of_formats(move |reading, precisions| {
            let engines = |file: &Parts| {
                let mut engines = engines(file);
                let files =
                    file.files.iter().map(|(name, bytes)| (name.clone(), Arc::from(&bytes[..]))).collect();
                let ort = OrtRuntime::from_bytes_with_files(&library, &file.bytes, &files, &options);
                engines.push(("ort", ort.map(|runtime| Box::new(runtime) as Box<dyn Runtime>)));
                engines
            };
            choose(reading, precisions, &engines, &clock)
        })
    }
}

type Engines = Vec<(&'static str, Result<Box<dyn Runtime>>)>;

fn engines(file: &Parts) -> Engines {
    let native = match &file.whole {
        Some(model) => NativeRuntime::from_model(model),
        None => NativeRuntime::from_bytes(&file.bytes),
    };
    let native = native.map(|runtime| Box::new(runtime) as Box<dyn Runtime>);
    #[allow(unused_mut, reason = "one engine without the feature")]
    let mut engines: Engines = vec![("native", native)];
    #[cfg(feature = "tract")]
    {
        let whole = file.whole.as_ref().map(onnx::write);
        let tract = crate::runtime::TractRuntime::from_onnx(whole.as_ref().unwrap_or(&file.bytes));
        engines.push(("tract", tract.map(|runtime| Box::new(runtime) as Box<dyn Runtime>)));
    }
    engines
}

/// A model file, and what it keeps in files beside it.
struct Parts {
    bytes: Bytes,
    files: BTreeMap<String, Bytes>,
    /// The model with all that it keeps elsewhere, if it does.
    whole: Option<ModelProto>,
}

impl Parts {
    fn read(reading: &Reading<'_>, name: &str) -> Result<Self> {
        let (package, bytes) = (reading.package, reading.read(name)?);
        let mut parts = Self { bytes, files: BTreeMap::new(), whole: None };
        // What is no ONNX model is for the engines to say.
        let Some(mut model) = onnx::read(&parts.bytes).ok().filter(|_| name.ends_with(".onnx")) else {
            return Ok(parts);
        };
        let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        for location in model.external_files() {
            let path = format!("{folder}{}", location.trim_start_matches("./"));
            if !package.files.contains_key(&path) {
                return Err(Error::data(format!(
                    "`{name}` of {} keeps constants in `{path}`, which is none of its files: register that one too",
                    package.id
                )));
            }
            parts.files.insert(location.to_owned(), reading.read(&path)?);
        }
        if !parts.files.is_empty() {
            model.take_in(&mut |location| Ok(parts.files.get(location).cloned().unwrap_or_default()))?;
            parts.whole = Some(model);
        }
        Ok(parts)
    }
}

/// The fastest of the engines and files; without a choice the only one, or why it cannot.
fn choose(
    reading: &Reading<'_>,
    precisions: &[Precision],
    engines: &dyn Fn(&Parts) -> Engines,
    clock: &dyn Clock,
) -> Result<Built> {
    let package = reading.package;
    let mut files = model_files(package, precisions)?;
    // The first one says what is right: the model as it was trained, in whichever order they are asked for.
    files.sort_by_key(|(precision, _)| *precision != Precision::Full);
    let golden = Golden::of(package)?;
    if let [(_, name)] = files[..] {
        return one_file(package, engines(&Parts::read(reading, name)?), golden.as_ref(), clock)
            .map(Built::from);
    }
    let Some(golden) = golden else {
        return Err(Error::invalid(format!(
            "{} has no golden rows to check its model in several precisions: add `{}`, or ask for one precision",
            package.id,
            Golden::FILE
        )));
    };
    let mut candidates = Vec::new();
    let mut full = Vec::new();
    for (precision, name) in files {
        // Whether a reduced precision is near enough is for the golden rows to say; texts, whole numbers and gaps
        // have to agree, being infinitely far apart else.
        let tolerance = if precision == Precision::Full { AutoRuntime::TOLERANCE } else { f64::MAX };
        for (engine, runtime) in engines(&Parts::read(reading, name)?) {
            let checked = runtime.and_then(|runtime| {
                let runtime: Arc<dyn Runtime> = runtime.into();
                golden.check(&dressed(package, Arc::clone(&runtime))?)?;
                Ok(Box::new(runtime) as Box<dyn Runtime>)
            });
            if precision == Precision::Full {
                full.push(checked.as_ref().err().map(|error| format!("{engine} {name}: {error:#}")));
            }
            candidates.push((format!("{engine} {name}"), checked, tolerance));
        }
    }
    let first = candidates.iter().find_map(|(_, runtime, _)| runtime.as_ref().ok());
    let sample =
        first.map_or_else(|| Ok(Vec::new()), |one| sample(package, Some(&golden), one.signature()))?;
    let runtime = Box::new(AutoRuntime::measure_each(candidates, &views(&sample), clock)?);
    // Which of them is right, only who made the package can tell.
    let failed: Option<Vec<String>> = full.into_iter().collect();
    let doubt = failed.filter(|failed| !failed.is_empty()).map(|failed| {
        format!(
            "answers in a reduced precision, since the model as it was trained fails: {}",
            failed.join("; ")
        )
    });
    Ok(Built { runtime, doubt })
}

fn one_file(
    package: &ModelPackage,
    mut engines: Engines,
    golden: Option<&Golden>,
    clock: &dyn Clock,
) -> Result<Box<dyn Runtime>> {
    let can = engines.iter().filter(|(_, runtime)| runtime.is_ok()).count();
    let first = engines.iter().position(|(_, runtime)| runtime.is_ok());
    if can == 1 || engines.len() == 1 {
        return engines.swap_remove(first.unwrap_or_default()).1;
    }
    let mut inputs = Vec::new();
    if let Some((first, Ok(runtime))) = first.map(|first| (first, &engines[first].1)) {
        inputs = sample(package, golden, runtime.signature())?;
        if golden.is_none() && runtime.predict(&views(&inputs)).is_err() {
            return engines.swap_remove(first).1;
        }
    }
    Ok(Box::new(AutoRuntime::measure(engines, &views(&inputs), clock)?))
}

/// What engines are compared on: the golden rows as they are served, else zeros.
fn sample(
    package: &ModelPackage,
    golden: Option<&Golden>,
    signature: &ModelSignature,
) -> Result<Vec<TensorBuf>> {
    /// Rows of zeros.
    const ROWS: usize = 2;
    match golden {
        Some(golden) => golden.inputs(Loader::encoder_of(package)?, signature),
        None => zeros(signature, ROWS),
    }
}

fn views(sample: &[TensorBuf]) -> Vec<TensorView<'_>> {
    sample.iter().map(TensorBuf::view).collect()
}

/// The model file of each precision that is asked for.
fn model_files<'a>(package: &'a ModelPackage, precisions: &[Precision]) -> Result<Vec<(Precision, &'a str)>> {
    const BY_NAME: &str = "in other precisions its name ends in .fp16.onnx (16-bit floats) or .int8.onnx (quantised), \
                           and `Loader::precisions` asks for it";
    const OURS: [&str; 5] = [
        Loader::ENCODER_FILE,
        Loader::HEAD_FILE,
        Loader::CALIBRATION_FILE,
        Loader::THRESHOLD_FILE,
        Golden::FILE,
    ];
    let ending = |endings: &[&str]| -> Vec<&'a str> {
        let names = package.files.keys().map(String::as_str).filter(|name| !OURS.contains(name));
        names.filter(|name| endings.iter().any(|ending| name.ends_with(ending))).collect()
    };
    let listed = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if package.files.is_empty() {
        return Err(Error::data(format!("{} has no files: register one with the model in it", package.id)));
    }
    let onnx = ending(&[".onnx"]);
    let mut found = Vec::new();
    for &precision in precisions {
        let names: Vec<&str> = match (&onnx[..], precision) {
            ([], Precision::Full) => ending(&[".txt", ".json", ".ubj"]),
            // The only one may be called as it likes.
            ([name], Precision::Full) if precisions.len() == 1 => vec![name],
            _ => onnx.iter().copied().filter(|name| Precision::of(name) == precision).collect(),
        };
        match names[..] {
            [name] => found.push((precision, name)),
            // Of several precisions, a package may have some.
            [] => {}
            _ => {
                return Err(Error::data(format!(
                    "{} files of {} may be the model in {precision}: {}; register one of them; {BY_NAME}",
                    names.len(),
                    package.id,
                    listed(&names)
                )));
            }
        }
    }
    if found.is_empty() {
        let any = |texts: Vec<String>| texts.join(" or ");
        return Err(Error::data(format!(
            "no file of {} is the model in {}, among {}: want one that ends in {}; {BY_NAME}",
            package.id,
            any(precisions.iter().map(ToString::to_string).collect()),
            listed(&package.files.keys().map(String::as_str).collect::<Vec<_>>()),
            any(precisions
                .iter()
                .map(|precision| match precision {
                    Precision::Full => ".onnx, .txt, .json or .ubj".to_owned(),
                    _ => precision.ending().to_owned(),
                })
                .collect())
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use mlops_core::data::Value;
    use mlops_core::{Digest, ElementType, ModelFile, ModelVersion, SystemClock, TensorSpec};

    use super::*;
    use crate::runtime::FnRuntime;

    /// An engine that answers with `f` of its only feature; `None` refuses the row.
    fn engine(name: &'static str, f: fn(f32) -> Option<f32>) -> (&'static str, Result<Box<dyn Runtime>>) {
        let signature = ModelSignature {
            inputs: vec![TensorSpec::batch("x", ElementType::F32, 1)],
            outputs: vec![TensorSpec::batch("y", ElementType::F32, 1)],
        };
        let runtime = FnRuntime::new(name, signature, move |inputs, outputs| {
            let y = outputs[0].reset::<f32>([inputs[0].rows(), 1])?;
            for (y, x) in y.iter_mut().zip(inputs[0].values::<f32>()?) {
                *y = f(*x).ok_or_else(|| Error::invalid("zeros are refused"))?;
            }
            Ok(())
        });
        (name, runtime.map(|runtime| Box::new(runtime) as Box<dyn Runtime>))
    }

    #[test]
    fn engines_are_compared_on_golden_rows() {
        let mut golden = Golden::new(1e-6);
        golden.push(&[Value::Float(2.0)], 4.0);
        golden.push(&[Value::Float(3.0)], 9.0);
        let bytes: Bytes = golden.to_json().unwrap().into();
        let files =
            BTreeMap::from([(Golden::FILE.to_owned(), (Digest::of(&bytes), ModelFile::Bytes(bytes)))]);
        let package = ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), files);
        let engines = || vec![engine("square", |x| Some(x * x)), engine("double", |x| Some(2.0 * x))];

        let clock = SystemClock::new();
        let chosen = one_file(&package, engines(), Some(&golden), &clock).unwrap();
        let text = format!("{chosen:?}");
        assert!(text.contains(r#"LeftOut { name: "double""#), "wrong at 3 alone: {text}");
        // Zeros do not tell the two apart.
        let text = format!("{:?}", one_file(&package, engines(), None, &clock).unwrap());
        assert!(text.contains("left_out: []"), "{text}");
    }

    #[test]
    fn an_engine_that_refuses_zeros_is_kept() {
        let package =
            ModelPackage::new(ModelVersion::new("shop", 1), ModelSignature::default(), BTreeMap::new());
        let picky = |x: f32| (x != 0.0).then_some(x);
        let engines = vec![engine("first", picky), engine("second", picky)];
        let chosen = one_file(&package, engines, None, &SystemClock::new()).unwrap();
        assert_eq!(chosen.engine(), "first");
    }
}
