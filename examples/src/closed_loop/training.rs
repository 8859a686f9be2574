//! The training pipeline: rows in, a registered version with a pending approval out.

use std::sync::Arc;

use mlops_core::data::Dataset;
use mlops_core::evaluation::{Evaluation, Verdict};
use mlops_core::features::Encoder;
use mlops_core::onnx::TreeEnsemble;
use mlops_core::pipeline::{Blob, Context, Handle, Many, Pipeline, Step};
use mlops_core::{ModelVersion, Result};
use mlops_registry::blocking::Registry;
use serde::{Deserialize, Serialize};

use super::runtime::Runtimes;
use super::steps::*;
use crate::learner::BoostingSettings;

/// The registered model.
pub(super) const MODEL: &str = "conversion";

/// The file of the monitoring baseline in a version.
pub(super) const BASELINE_FILE: &str = "baseline.json";

/// The file of the ONNX model in a version.
pub(super) const MODEL_FILE: &str = "model.onnx";

/// What a training run works with.
#[derive(Clone)]
pub(super) struct Workshop {
    /// Reads the labelled sessions of these months, oldest first.
    pub(super) read: Arc<ReadMonths>,
    pub(super) registry: Arc<Registry>,
    pub(super) runtimes: Runtimes,
}

type ReadMonths = dyn Fn(&[MonthKey]) -> Result<Vec<Dataset>> + Send + Sync;

/// A month of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MonthKey {
    pub(super) year: usize,
    pub(super) month: usize,
}

/// The pipeline and the handle of what it gives.
pub(super) struct Training {
    pub(super) pipeline: Pipeline,
    pub(super) verdict: Handle<Verdict>,
    pub(super) version: Handle<ModelVersion>,
}

/// Wires the pipeline. Its parameters: `months` to train on, oldest first; `reason` to record; `sabotage` to
/// scramble the features of the registered model.
pub(super) fn training(workshop: &Workshop) -> Training {
    let mut p = Pipeline::new("train conversion");
    let months = p.param("months", Vec::<MonthKey>::new());
    let reason = p.param("reason", String::new());
    let sabotage = p.param("sabotage", false);
    let settings = p.param("boosting", BoostingSettings::default());

    let Workshop { read, registry, runtimes } = workshop.clone();
    let months = p.step(
        Step::new("read").always(),
        move |months: &Vec<MonthKey>| Ok(Many::from(read(months)?)),
        months,
    );
    let months = p.step("check schema", check_schema, months);
    let (train, test) = p.split("split", split, months);
    let windows = p.step("windows", windows, (months, train));
    let rows = p.step("all rows", |windows: &Many<Dataset>| longest(windows), windows);

    let encoder = p.step("fit encoder", fit_encoder, rows);
    let candidates = p.map("train trees", train_trees, windows, (encoder, settings));
    let (trees, window) = p.split("choose window", choose, (candidates, windows, encoder, test));
    let line = p.step("train logistic regression", train_line, (encoder, rows));
    let baseline = p.step("fit baseline", fit_baseline, window);

    let evaluation = p.step("evaluate", evaluate_trees, (trees, encoder, test, rows));
    let reference = p.step("evaluate logistic regression", evaluate_line, (line, encoder, test));
    let verdict = p.step("gate", gate, (evaluation, reference));
    p.require("good enough", verdict);

    let onnx = p.step("export", |trees: &TreeEnsemble| Ok(Blob(trees.to_bytes()?)), trees);
    let prove = {
        let runtimes = runtimes.clone();
        move |cx: &Context,
              onnx: &Blob,
              trees: &TreeEnsemble,
              encoder: &Encoder,
              rows: &Dataset,
              test: &Dataset| prove_parity(cx, &runtimes, onnx, trees, encoder, rows, test)
    };
    let parity = p.step("parity", prove, (onnx, trees, encoder, rows, test));
    let packed = p.step("pack encoder", pack_encoder, (encoder, rows, sabotage));
    let golden = p.step("golden rows", golden_rows, (trees, packed, test));
    let files = p.step("pack", pack, (onnx, packed, golden, baseline, parity));
    let register =
        move |cx: &Context,
              files: &Files,
              evaluation: &Evaluation,
              window: &Dataset,
              test: &Dataset,
              reason: &String| { register(cx, &registry, files, evaluation, (window, test), reason) };
    let version = p.step(Step::new("register").always(), register, (files, evaluation, window, test, reason));
    Training { pipeline: p, verdict, version }
}
