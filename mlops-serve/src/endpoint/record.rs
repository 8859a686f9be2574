//! What is captured of a request, and shown to shadows.

use std::slice;
use std::sync::Arc;

use mlops_core::data::Value;
use mlops_core::record::InferenceRecord;
use mlops_core::{RequestId, Timestamp};

use super::answer::to_us;
use super::deployment::{Deployment, Origin};
use super::request::{Answer, Request};
use super::{Endpoint, Shadow};
use crate::capture::Capture;
use crate::tensor::{TensorBuf, TensorData, TensorView};

impl Endpoint {
    /// One row.
    #[inline]
    pub(super) fn record(
        &self,
        deployment: &Deployment,
        request: &Request<'_>,
        row: &[Value<'_>],
        answer: &Answer,
    ) {
        let Answer { score, decision, origin, latency_us } = answer;
        if let Some(watchers) = self.watchers(deployment, request, 1, origin, *latency_us) {
            watchers.show(0, request.candidates, row, &[*score], *decision);
        }
    }

    /// Rows of one request.
    #[inline]
    pub(super) fn record_rows(
        &self,
        deployment: &Deployment,
        request: &Request<'_>,
        rows: &[&[Value<'_>]],
        scores: &[f64],
        origin: &Arc<Origin>,
        latency_ns: Option<u64>,
    ) {
        let latency_us = to_us(latency_ns);
        let Some(watchers) = self.watchers(deployment, request, rows.len(), origin, latency_us) else {
            return;
        };
        for (index, (row, score)) in rows.iter().zip(scores).enumerate() {
            let candidates = request.candidates_of(index, rows.len());
            watchers.show(index, candidates, row, &[*score], origin.decides(*score));
        }
    }

    /// Rows of tensors, which nothing decides on. What has no rows is shown without cells, for the schema to refuse and count.
    #[inline]
    pub(super) fn record_tensors(
        &self,
        deployment: &Deployment,
        request: &Request<'_>,
        inputs: &[TensorView<'_>],
        outputs: &[TensorBuf],
        origin: &Arc<Origin>,
        latency_ns: Option<u64>,
    ) {
        let rows = inputs.first().map_or(1, TensorView::rows);
        let latency_us = to_us(latency_ns);
        let Some(watchers) = self.watchers(deployment, request, rows, origin, latency_us) else { return };
        let (mut features, mut numbers) = (Vec::new(), Vec::new());
        for index in 0..rows {
            features.clear();
            numbers.clear();
            let mut is_exact = true;
            inputs.iter().for_each(|input| cells(input, index, rows, |cell| features.push(cell)));
            for output in outputs {
                cells(&output.view(), index, rows, |cell| match cell {
                    // Not every whole number beyond 2^53 is a float: none takes the place of another.
                    Value::Integer(value) if value.unsigned_abs() > 1 << 53 => is_exact = false,
                    cell => numbers.extend(cell.as_f64()),
                });
            }
            if !is_exact {
                numbers.clear();
            }
            let candidates = request.candidates_of(index, rows);
            watchers.show(index, candidates, &features, &numbers, None);
        }
    }

    #[inline]
    fn watchers<'a>(
        &'a self,
        deployment: &'a Deployment,
        request: &'a Request<'a>,
        rows: usize,
        origin: &'a Origin,
        latency_us: f64,
    ) -> Option<Watchers<'a>> {
        let (capture, shadows) = (self.capture.as_deref(), &*deployment.shadows);
        let in_sample = capture.is_some_and(|capture| capture.is_in_sample(request.id));
        if shadows.is_empty() && capture.is_none_or(|capture| capture.skips(in_sample, rows)) {
            return None;
        }
        Some(Watchers { request, origin, latency_us, time: self.clock.now(), capture, in_sample, shadows })
    }
}

impl<'a> Request<'a> {
    /// The candidates that the record of one of several rows names.
    fn candidates_of(&self, index: usize, rows: usize) -> &'a [&'a str] {
        match self.candidates.get(index) {
            Some(own) if self.candidates.len() == rows => slice::from_ref(own),
            _ => self.candidates,
        }
    }
}

/// Who looks at a request.
struct Watchers<'a> {
    request: &'a Request<'a>,
    origin: &'a Origin,
    latency_us: f64,
    time: Timestamp,
    capture: Option<&'a Capture>,
    in_sample: bool,
    shadows: &'a [Arc<Shadow>],
}

impl Watchers<'_> {
    #[inline]
    fn show(
        &self,
        index: usize,
        candidates: &[&str],
        features: &[Value<'_>],
        outputs: &[f64],
        decision: Option<bool>,
    ) {
        let id: RequestId = self.request.row_id(index);
        let Origin { arm, propensity, version, fallback, .. } = self.origin;
        let record = InferenceRecord {
            id,
            time: self.time,
            model: &version.name,
            version: version.version,
            arm,
            propensity: *propensity,
            fallback: *fallback,
            decision,
            latency_us: self.latency_us,
            candidates,
            features,
            outputs,
        };
        if let Some(capture) = self.capture {
            capture.offer_if(self.in_sample, &record);
        }
        self.shadows.iter().for_each(|shadow| shadow.offer(self.request.id, &record));
    }
}

/// A gap is a missing cell, as it is in a row.
fn float(value: f64) -> Value<'static> {
    if value.is_nan() { Value::Missing } else { Value::Float(value) }
}

/// The cells of one row of a tensor; none if its elements are not as many for each row.
fn cells<'a>(view: &TensorView<'a>, row: usize, rows: usize, mut put: impl FnMut(Value<'a>)) {
    let data = view.data();
    let width = data.len() / rows.max(1);
    if width * rows != data.len() {
        return;
    }
    let cells = row * width..(row + 1) * width;
    match data {
        TensorData::F16(values) => values[cells].iter().for_each(|value| put(float((*value).into()))),
        TensorData::F32(values) => values[cells].iter().for_each(|value| put(float((*value).into()))),
        TensorData::F64(values) => values[cells].iter().for_each(|value| put(float(*value))),
        TensorData::I32(values) => {
            values[cells].iter().for_each(|value| put(Value::Integer((*value).into())));
        }
        TensorData::I64(values) => values[cells].iter().for_each(|value| put(Value::Integer(*value))),
        TensorData::Bool(values) => values[cells].iter().for_each(|value| put(Value::Boolean(*value))),
        TensorData::Text(texts) => {
            texts.iter().skip(cells.start).take(width).for_each(|text| put(Value::Text(text)));
        }
    }
}
