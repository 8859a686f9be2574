//! The steps of the training pipeline: plain functions.

use mlops_core::data::{ColumnKind, Dataset, Split, TableSchema, Value};
use mlops_core::evaluation::bias::Contingency;
use mlops_core::evaluation::binary::{BinaryMetrics, BinaryRow, BinarySettings};
use mlops_core::evaluation::{Evaluation, Gate, MetricState, Reference, Rule, Verdict};
use mlops_core::experiment::Moments;
use mlops_core::features::{Encoder, EncoderSpec, Missing, Scaling, Transform};
use mlops_core::onnx::{LinearModel, Link, TreeEnsemble};
use mlops_core::pipeline::{Blob, Context, Many};
use mlops_core::{Error, ModelVersion, Result};
use mlops_drift::monitor::{Baseline, BaselineOptions};
use mlops_registry::blocking::Registry;
use mlops_registry::{Draft, NewVersion};
use mlops_serve::endpoint::{Golden, Loader};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::runtime::Runtimes;
use super::training::{BASELINE_FILE, MODEL, MODEL_FILE};
use crate::learner::{BoostingSettings, train_boosted_trees, train_logistic_regression};
use crate::shop::{LABEL, VISITOR};

/// How far apart the trained model and the exported one may score a row.
const PARITY_MAX: f64 = 1e-6;

pub(super) fn check_schema(months: &Many<Dataset>) -> Result<Many<Dataset>> {
    for month in months.iter() {
        month.validate()?.into_result()?;
    }
    match months.iter().all(Dataset::is_empty) {
        true => Err(Error::data("there is no row to train on")),
        false => Ok(months.clone()),
    }
}

/// Holds out a part of the newest month: a model is for the sessions to come.
pub(super) fn split(cx: &Context, months: &Many<Dataset>) -> Result<(Dataset, Dataset)> {
    let newest = months.iter().last().ok_or_else(|| Error::data("there is no month to train on"))?;
    let [train, test] = newest.split(Split::Stratified(LABEL), [0.7, 0.3], cx.seed())?;
    Ok((train, test))
}

/// All months, which know the most, the last quarter, and the newest month alone, which knows the present
/// best: the longest window first.
pub(super) fn windows(months: &Many<Dataset>, train: &Dataset) -> Result<Many<Dataset>> {
    const QUARTER: usize = 3;
    let older = months.len().saturating_sub(1);
    let mut windows = Vec::new();
    for length in [months.len(), QUARTER, 1] {
        if length <= months.len() && !windows.iter().any(|(other, _)| *other == length) {
            let since = months.iter().take(older).skip(months.len() - length);
            windows.push((length, since.cloned().try_fold(train.clone(), Dataset::concat)?));
        }
    }
    Ok(windows.into_iter().map(|(_, window)| window).collect())
}

pub(super) fn longest(windows: &Many<Dataset>) -> Result<Dataset> {
    let longest = windows.iter().max_by_key(|window| window.rows());
    longest.cloned().ok_or_else(|| Error::data("there is no window to train on"))
}

fn spec(schema: &TableSchema) -> EncoderSpec {
    let numeric = Transform::Numeric { scaling: Scaling::Standardise, missing: Missing::Mean };
    EncoderSpec::new(schema.features().map(|column| {
        let is_number = column.kind == ColumnKind::Float;
        (column.name.as_str(), if is_number { numeric.clone() } else { Transform::one_hot(10) })
    }))
}

pub(super) fn fit_encoder(rows: &Dataset) -> Result<Encoder> {
    Encoder::fit(&spec(rows.schema()), rows)
}

pub(super) fn train_trees(
    cx: &Context,
    window: &Dataset,
    encoder: &Encoder,
    settings: &BoostingSettings,
) -> Result<TreeEnsemble> {
    let features = encoder.encode_dataset(window)?;
    train_boosted_trees(&features, &window.numbers(LABEL)?, settings, cx.seed())
}

pub(super) fn train_line(encoder: &Encoder, rows: &Dataset) -> Result<LinearModel> {
    let features = encoder.encode_dataset(rows)?;
    train_logistic_regression(&features, &rows.numbers(LABEL)?, 1.0)
}

/// Takes the candidate of the longest window, unless a shorter one has a lower log loss on the rows held out by
/// more than one standard error: a few hundred rows say little, and more history ranks better. The months are
/// too small for a third part, so the same rows give the metrics: of three candidates, a small optimism.
pub(super) fn choose(
    cx: &Context,
    candidates: &Many<TreeEnsemble>,
    windows: &Many<Dataset>,
    encoder: &Encoder,
    test: &Dataset,
) -> Result<(TreeEnsemble, Dataset)> {
    let features = encoder.encode_dataset(test)?;
    let labels = test.numbers(LABEL)?;
    let mut best: Option<(Vec<f64>, &TreeEnsemble, &Dataset)> = None;
    for (trees, window) in candidates.iter().zip(windows.iter()) {
        let losses = losses(&tree_scores(trees, &features), &labels);
        let is_better = match &best {
            None => true,
            Some((longer, ..)) => {
                let gain = Moments::of(longer.iter().zip(&losses).map(|(longer, loss)| longer - loss))?;
                let standard_error =
                    gain.sample_variance().map(|variance| (variance / gain.rows() as f64).sqrt());
                standard_error.is_some_and(|standard_error| gain.mean() > Some(standard_error))
            }
        };
        if is_better {
            best = Some((losses, trees, window));
        }
    }
    let (_, trees, window) = best.ok_or_else(|| Error::internal("no candidate was trained"))?;
    cx.metric("training_rows", window.rows() as f64);
    Ok((trees.clone(), window.clone()))
}

/// The log loss of each row.
fn losses(scores: &[f64], labels: &[f64]) -> Vec<f64> {
    let loss = |(score, label): (&f64, &f64)| {
        let of_truth = if *label > 0.5 { *score } else { 1.0 - score };
        -of_truth.max(f64::EPSILON).ln()
    };
    scores.iter().zip(labels).map(loss).collect()
}

pub(super) fn fit_baseline(rows: &Dataset) -> Result<Baseline> {
    Baseline::fit(rows.schema(), rows.batches(), BaselineOptions::default())
}

fn tree_scores(trees: &TreeEnsemble, features: &Array2<f32>) -> Vec<f64> {
    let score = |row: ndarray::ArrayView1<'_, f32>| {
        let row: Vec<f64> = row.iter().map(|feature| f64::from(*feature)).collect();
        let score = trees.score(&row);
        match trees.link {
            Link::Logistic => logistic(score),
            _ => score,
        }
    };
    features.outer_iter().map(score).collect()
}

fn line_scores(line: &LinearModel, features: &Array2<f32>) -> Vec<f64> {
    let score = |row: ndarray::ArrayView1<'_, f32>| {
        let terms = row.iter().zip(&line.coefficients).map(|(feature, weight)| f64::from(*feature) * weight);
        logistic(line.intercept + terms.sum::<f64>())
    };
    features.outer_iter().map(score).collect()
}

fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

fn metrics(scores: &[f64], rows: &Dataset) -> Result<BinaryMetrics> {
    let mut metrics = BinaryMetrics::new(BinarySettings::default())?;
    for (label, score) in rows.numbers(LABEL)?.into_iter().zip(scores) {
        metrics.push(&BinaryRow::new(label > 0.5, *score))?;
    }
    Ok(metrics)
}

/// Quality on the rows held out; bias by visitor type on the rows of the window, those trained on among them,
/// since a month holds out too few of each type.
pub(super) fn evaluate_trees(
    cx: &Context,
    trees: &TreeEnsemble,
    encoder: &Encoder,
    test: &Dataset,
    rows: &Dataset,
) -> Result<Evaluation> {
    let scores = tree_scores(trees, &encoder.encode_dataset(test)?);
    let evaluation = Evaluation::of(&metrics(&scores, test)?);
    for (name, shown) in [("roc_auc", "auc"), ("log_loss", "log_loss"), ("f_beta", "f1"), ("ece", "ece")] {
        if let Ok(metric) = evaluation.metric(name, None) {
            cx.metric(shown, metric.value);
        }
    }
    let decisions: Vec<bool> =
        tree_scores(trees, &encoder.encode_dataset(rows)?).iter().map(|score| *score >= 0.5).collect();
    let labels: Vec<bool> = rows.numbers(LABEL)?.iter().map(|label| *label > 0.5).collect();
    let visitors = texts(rows, VISITOR)?;
    let visitors: Vec<&str> = visitors.iter().map(String::as_str).collect();
    evaluation.with_bias(VISITOR, &Contingency::from_rows(&visitors, &labels, &decisions)?)
}

pub(super) fn evaluate_line(line: &LinearModel, encoder: &Encoder, test: &Dataset) -> Result<Evaluation> {
    Ok(Evaluation::of(&metrics(&line_scores(line, &encoder.encode_dataset(test)?), test)?))
}

fn texts(rows: &Dataset, column: &str) -> Result<Vec<String>> {
    let place = rows.schema().index_of(column)?;
    let mut texts = Vec::with_capacity(rows.rows());
    rows.for_each_row(|_, cells| {
        texts.push(match cells[place] {
            Value::Text(text) => text.to_owned(),
            other => other.to_string(),
        });
        Ok(())
    })?;
    Ok(texts)
}

/// Good enough to be tried: it ranks, it is no worse than a line, and it treats new visitors alike. A small
/// sample may not refuse a model by chance, so the quality rules fail on evidence alone.
pub(super) fn gate(evaluation: &Evaluation, reference: &Evaluation) -> Result<Verdict> {
    let gate = Gate::new([
        Rule::at_least("roc_auc", 0.65).unrefuted(0.95),
        Rule::no_worse_than("log_loss", Reference::Baseline, 0.02).unrefuted(0.95),
        Rule::at_most("ece", 0.25),
        Rule::between("dppl", -0.3, 0.3).on(format!("{VISITOR}=New_Visitor")),
    ])?;
    Ok(gate.against().baseline(reference).check(evaluation))
}

/// Scores every row, those trained on and those held out, by the trained model and by the exported one.
pub(super) fn prove_parity(
    cx: &Context,
    runtimes: &Runtimes,
    onnx: &Blob,
    trees: &TreeEnsemble,
    encoder: &Encoder,
    rows: &Dataset,
    test: &Dataset,
) -> Result<f64> {
    let mut worst: f64 = 0.0;
    for rows in [rows, test] {
        let features = encoder.encode_dataset(rows)?;
        let exported = runtimes.scores(&onnx.0, &features)?;
        worst = worst.max(farthest_apart(&tree_scores(trees, &features), &exported)?);
    }
    cx.metric("parity", worst);
    Ok(worst)
}

fn farthest_apart(trained: &[f64], exported: &[f32]) -> Result<f64> {
    if trained.len() != exported.len() {
        let (want, got) = (trained.len(), exported.len());
        return Err(Error::internal(format!("the exported model gives {got} scores for {want} rows")));
    }
    let mut worst: f64 = 0.0;
    for (row, (trained, exported)) in trained.iter().zip(exported).enumerate() {
        let apart = (trained - f64::from(*exported)).abs();
        if apart.is_nan() || apart > PARITY_MAX {
            return Err(Error::internal(format!(
                "row {row} scores {trained} by the trained model and {exported} by the exported one: at most \
                 {PARITY_MAX:e} apart is allowed"
            )));
        }
        worst = worst.max(apart);
    }
    Ok(worst)
}

/// The encoder to serve with; a sabotaged one reads each number from the wrong column.
pub(super) fn pack_encoder(encoder: &Encoder, rows: &Dataset, sabotage: &bool) -> Result<Encoder> {
    if !sabotage {
        return Ok(encoder.clone());
    }
    let mut columns: Vec<_> = spec(rows.schema()).columns().cloned().collect();
    let numeric: Vec<usize> =
        (0..columns.len()).filter(|place| matches!(columns[*place].1, Transform::Numeric { .. })).collect();
    let names: Vec<String> = numeric.iter().map(|place| columns[*place].0.clone()).collect();
    for (place, name) in numeric.iter().zip(names.iter().cycle().skip(names.len() / 2)) {
        columns[*place].0.clone_from(name);
    }
    Encoder::fit(
        &EncoderSpec::new(columns.iter().map(|(name, transform)| (name.as_str(), transform.clone()))),
        rows,
    )
}

/// Rows with the scores that a loaded model must give.
pub(super) fn golden_rows(trees: &TreeEnsemble, encoder: &Encoder, test: &Dataset) -> Result<Golden> {
    const ROWS: usize = 20;
    let scores = tree_scores(trees, &encoder.encode_dataset(test)?);
    let features: Vec<usize> =
        encoder.inputs().iter().map(|column| test.schema().index_of(&column.name)).collect::<Result<_>>()?;
    let mut golden = Golden::new(PARITY_MAX);
    test.for_each_row(|row, cells| {
        if row < ROWS {
            let cells: Vec<_> = features.iter().map(|place| cells[*place]).collect();
            golden.push(&cells, scores[row]);
        }
        Ok(())
    })?;
    Ok(golden)
}

/// The files of a version, by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Files(Vec<(String, Vec<u8>)>);

pub(super) fn pack(
    onnx: &Blob,
    encoder: &Encoder,
    golden: &Golden,
    baseline: &Baseline,
    _parity_is_proved: &f64,
) -> Result<Files> {
    let baseline = serde_json::to_vec(baseline)
        .map_err(|error| Error::internal("a baseline cannot be written as JSON").with_source(error))?;
    Ok(Files(vec![
        (MODEL_FILE.into(), onnx.0.to_vec()),
        (Loader::ENCODER_FILE.into(), encoder.to_json()?),
        (Golden::FILE.into(), golden.to_json()?),
        (BASELINE_FILE.into(), baseline),
    ]))
}

pub(super) fn register(
    cx: &Context,
    registry: &Registry,
    files: &Files,
    evaluation: &Evaluation,
    (trained_on, test): (&Dataset, &Dataset),
    reason: &String,
) -> Result<ModelVersion> {
    let onnx = files.0.iter().find(|(name, _)| name == MODEL_FILE);
    let (_, onnx) = onnx.ok_or_else(|| Error::internal("the model was not packed"))?;
    let model = mlops_core::onnx::read(&onnx.clone().into())?;
    let mut version = NewVersion::new(MODEL)
        .signature(mlops_core::onnx::signature(&model)?)
        .framework("forust-ml 0.8, exported as ONNX")
        .description(reason)
        .run(cx.run())
        .data("training", trained_on.fingerprint())
        .data("test", test.fingerprint())
        .baseline(BASELINE_FILE)
        .tag("learner", "gradient-boosted trees");
    for (name, bytes) in &files.0 {
        version = version.file(name, bytes.clone());
    }
    for (name, metric) in &evaluation.metrics {
        if metric.value.is_finite() {
            version = version.metric(name, metric.value);
        }
    }
    let draft = Draft::new("training pipeline", reason).key(cx.operation_id().to_string()).register(version);
    let receipt = registry.commit(draft)?;
    receipt.version().cloned().ok_or_else(|| Error::internal("a registration gave no version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_is_not_proved_by_nan_or_by_missing_rows() {
        assert!(farthest_apart(&[0.25, 0.5], &[0.25, 0.5]).unwrap() < PARITY_MAX);
        for exported in [&[0.25][..], &[0.25, f32::NAN], &[0.25, 0.501]] {
            assert!(farthest_apart(&[0.25, 0.5], exported).is_err(), "{exported:?}");
        }
    }
}
