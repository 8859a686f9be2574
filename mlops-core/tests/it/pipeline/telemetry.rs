//! What the host's exporters hear of runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use mlops_core::pipeline::{Pipeline, Request, Retry, Step, Telemetry};
use mlops_core::{Error, ErrorKind};

use super::Bench;

/// The counts by name and labels; of a histogram how many values it took.
#[derive(Clone, Debug, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

struct Cell(Counts, String);

impl Cell {
    fn add(&self, count: u64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += count;
    }
}

impl CounterFn for Cell {
    fn increment(&self, count: u64) {
        self.add(count);
    }

    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Cell {
    fn record(&self, _: f64) {
        self.add(1);
    }
}

impl Counts {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Cell(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

/// The spans in the order in which they were made, each with the number of its parent.
#[derive(Debug, Default)]
struct Spans(Mutex<Vec<(String, Option<u64>)>>, AtomicU64);

impl tracing::Subscriber for Spans {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let parent = span.parent().map(tracing::span::Id::into_u64);
        self.0.lock().unwrap().push((span.metadata().name().to_owned(), parent));
        tracing::span::Id::from_u64(self.1.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn runs_and_steps_are_counted_and_are_spans() {
    let wire = |fails: bool| {
        let mut p = Pipeline::new("shop");
        let read = p.step("read", || Ok(1_u32), ());
        let step = Step::new("push").retry_on(ErrorKind::Unavailable, Retry::times(1));
        let push = move |n: &u32| if fails { Err(Error::unavailable("gone")) } else { Ok(*n) };
        p.step(step, push, read);
        p
    };
    let listen = || {
        let (bench, counts, spans) = (Bench::new(), Counts::default(), Arc::new(Spans::default()));
        let runner = bench.runner().with_observer(Telemetry);
        metrics::with_local_recorder(&counts, || {
            tracing::subscriber::with_default(Arc::clone(&spans), || {
                runner.run(&wire(true), Request::new("1")).unwrap_err();
                runner.run(&wire(false), Request::new("2")).unwrap();
            });
        });
        (counts, spans)
    };
    // Twice: if a test to which nobody listens comes upon a span first, `tracing` takes it that nobody ever will, until
    // another subscriber comes.
    listen();
    let (counts, spans) = listen();
    let expected = [
        ("mlops_pipeline_attempts_failed_total{step=push,retried=no}", 1),
        ("mlops_pipeline_attempts_failed_total{step=push,retried=yes}", 1),
        ("mlops_pipeline_run_seconds{pipeline=shop}", 2),
        ("mlops_pipeline_runs_total{pipeline=shop,status=completed}", 1),
        ("mlops_pipeline_runs_total{pipeline=shop,status=failed}", 1),
        ("mlops_pipeline_step_seconds{step=push}", 1),
        ("mlops_pipeline_step_seconds{step=read}", 1),
        ("mlops_pipeline_steps_total{step=push,state=computed}", 1),
        ("mlops_pipeline_steps_total{step=read,state=cached}", 1),
        ("mlops_pipeline_steps_total{step=read,state=computed}", 1),
    ];
    assert_eq!(*counts.0.lock().unwrap(), expected.map(|(name, count)| (name.to_owned(), count)).into());
    let spans: Vec<_> = spans.0.lock().unwrap().clone();
    let (run, step) = ("pipeline_run".to_owned(), "pipeline_step".to_owned());
    let first =
        [(run.clone(), None), (step.clone(), Some(1)), (step.clone(), Some(1)), (step.clone(), Some(1))];
    let second = [(run, None), (step, Some(5))];
    assert_eq!(spans, [&first[..], &second].concat());
}
