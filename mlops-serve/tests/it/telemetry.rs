//! What the host's exporters hear.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use mlops_core::data::{Column, ColumnKind, TableSchema, Value};
use mlops_core::record::{InferenceRecord, RecordSchema};
use mlops_core::{ManualClock, ModelSource, SystemClock, Timestamp};
use mlops_serve::batch::{BatchRuntime, BatchSettings, BatchStats};
use mlops_serve::capture::{Capture, CaptureSettings};
use mlops_serve::endpoint::{Endpoint, Follower, HealthSettings, ModelCache, Shadow};
use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};
use mlops_serve::runtime::{Runtime, RuntimeExt};
use mlops_serve::tensor::TensorView;

use crate::models::{function, id, model, row};
use crate::shelf::{Shelf, loader};

/// Values by name and labels: sums of counters, the last of a gauge, how many values a histogram took.
#[derive(Clone, Debug, Default)]
struct Values(Arc<Mutex<BTreeMap<String, f64>>>, Arc<Mutex<BTreeSet<String>>>);

struct Cell(Values, String);

impl Cell {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut values = self.0.0.lock().unwrap();
        let value = values.entry(self.1.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for Cell {
    fn increment(&self, count: u64) {
        self.change(|value| value + count as f64);
    }

    fn absolute(&self, count: u64) {
        self.change(|_| count as f64);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, by: f64) {
        self.change(|value| value + by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| value - by);
    }

    fn set(&self, to: f64) {
        self.change(|_| to);
    }
}

impl HistogramFn for Cell {
    fn record(&self, _: f64) {
        self.change(|value| value + 1.0);
    }
}

impl Values {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
        let name = key.name().strip_prefix("mlops_serve_").unwrap();
        Arc::new(Cell(self.clone(), format!("{name} {}", labels.join(" "))))
    }

    fn of(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or(f64::NAN)
    }
}

impl Values {
    fn describe(&self, name: &KeyName, help: &SharedString) {
        assert!(help.ends_with('.'));
        let name = name.as_str().strip_prefix("mlops_serve_").unwrap();
        self.1.lock().unwrap().insert(name.to_owned());
    }

    /// Whether exporters know what each value is.
    fn are_described(&self) -> bool {
        let described = self.1.lock().unwrap();
        self.0.lock().unwrap().keys().all(|name| described.contains(name.split(' ').next().unwrap()))
    }
}

impl Recorder for Values {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

#[test]
fn an_endpoint_publishes_each_request_once() {
    let table = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let schema = RecordSchema::new(&table, ["score"]).unwrap();
    let capture = Arc::new(Capture::new(schema, CaptureSettings::default()).unwrap());
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let health = HealthSettings::default().failures_in_row_max(2).tries_max(1).cool_down_us(1);
    let endpoint =
        Endpoint::new("shop", Arc::clone(&clock)).with_health(health).with_capture(Arc::clone(&capture));
    let values = Values::default();
    metrics::with_local_recorder(&values, || {
        endpoint.deploy(model(1, |x| x)).unwrap();
        endpoint.challenge(model(2, |_| f32::NAN), 1.0).unwrap();
        endpoint.set_shadows(vec![Arc::new(Shadow::new(model(3, |x| x), SystemClock::new()))]).unwrap();
        (0..5).for_each(|number| assert!(endpoint.score(id(number), &row()).is_ok()));
        for _ in 0..2 {
            endpoint.publish_metrics();
        }
        for (name, want) in [
            ("requests_total shop challenger shop/2", 5.0),
            ("failures_total shop challenger shop/2", 5.0),
            ("request_seconds shop challenger shop/2", 5.0),
            ("arm_share_ratio shop challenger shop/2", 1.0),
            ("arm_share_ratio shop champion shop/1", 0.0),
            ("out_of_service shop challenger shop/2", 1.0),
            ("quarantined_versions shop", 0.0),
            ("draining_swaps shop", 0.0),
            ("shadow_requests_total shop shop/3 dropped", 0.0),
            ("captured_records_total shop captured", 0.0),
            ("capture_waiting_records shop", 5.0),
            ("events_total shop warning", 1.0),
            ("events_total shop info", 3.0),
        ] {
            assert_eq!(values.of(name), want, "{name}");
        }
        // Of six that wait one is rejected when they are drained: no counter goes back, and the sum stays.
        let misfit = InferenceRecord {
            id: id(5),
            time: Timestamp::EPOCH,
            model: "shop",
            version: 1,
            arm: "champion",
            propensity: 1.0,
            fallback: false,
            decision: None,
            latency_us: 1.0,
            candidates: &[],
            features: &[Value::Text("one")],
            outputs: &[1.0],
        };
        capture.offer(&misfit);
        for (drained, want) in [(false, [0.0, 0.0, 6.0]), (true, [5.0, 1.0, 0.0])] {
            if drained {
                assert_eq!(capture.drain().unwrap().unwrap().num_rows(), 5);
            }
            endpoint.publish_metrics();
            let names = ["captured_records_total shop captured", "captured_records_total shop rejected"];
            let [captured, rejected] = names.map(|name| values.of(name));
            assert_eq!([captured, rejected, values.of("capture_waiting_records shop")], want);
        }
        clock.advance(std::time::Duration::from_micros(1));
        (5..7).for_each(|number| assert!(endpoint.score(id(number), &row()).is_ok()));
        endpoint.roll_back().unwrap();
        endpoint.publish_metrics();
        for (name, want) in [
            ("requests_total shop challenger shop/2", 7.0),
            ("request_seconds shop challenger shop/2", 7.0),
            ("arm_share_ratio shop challenger shop/2", 0.0),
            ("out_of_service shop challenger shop/2", 0.0),
            ("arm_share_ratio shop champion shop/1", 1.0),
            ("quarantined_versions shop", 1.0),
            ("events_total shop critical", 1.0),
        ] {
            assert_eq!(values.of(name), want, "{name}");
        }
        // The rollout's and the dashboard's counts are not taken away.
        assert_eq!(endpoint.take_traffic().iter().map(|arm| arm.traffic.requests).sum::<u64>(), 7);
        assert!(values.are_described());
    });
}

#[test]
fn batches_caches_and_isolated_runtimes_publish_under_their_names() {
    let values = Values::default();
    metrics::with_local_recorder(&values, || {
        let runtime = BatchRuntime::new(function(1, |x| x), BatchSettings::default(), SystemClock::new());
        let runtime = runtime.unwrap();
        let ask = |runtime: &dyn Runtime| {
            runtime.predict(&[TensorView::new(&[1.0_f32], [1, 1]).unwrap()]).unwrap();
        };
        let mut before = BatchStats::default();
        for asked in 1..=3_u8 {
            ask(&runtime);
            let now = runtime.stats();
            now.publish_metrics("shop", &before);
            before = now;
            assert_eq!(values.of("batch_calls_total shop direct"), f64::from(asked));
        }
        assert!(values.of("batch_cost_seconds shop row") >= 0.0);

        let isolated = IsolatedRuntime::new(function(1, |x| x), IsolationSettings::default()).unwrap();
        ask(&isolated);
        isolated.publish_metrics("shop");
        assert_eq!(values.of("isolated_threads_hung shop"), 0.0);

        let shelf = Arc::new(Shelf::default());
        shelf.put(1, 0.5, None);
        let cache = ModelCache::new(
            loader(),
            Arc::clone(&shelf) as Arc<dyn ModelSource>,
            1 << 20,
            SystemClock::new(),
        );
        let version = model(1, |x| x).version().clone();
        (0..3).for_each(|_| drop(cache.model(&version).unwrap()));
        cache.publish_metrics("models");
        assert_eq!(values.of("cache_models models"), 1.0);
        assert_eq!(values.of("cache_events_total models hit"), 2.0);
        assert_eq!(values.of("loads_total shop loaded"), 1.0);
    });
}

/// The names of spans and events, with their fields.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<String>>>, Arc<AtomicU64>);

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl tracing::Subscriber for Heard {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("mlops_serve")
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut line = span.metadata().name().to_owned();
        span.record(&mut Fields(&mut line));
        self.0.lock().unwrap().push(line);
        tracing::span::Id::from_u64(self.1.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Fields(&mut line));
        self.0.lock().unwrap().push(line);
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn loads_are_spans_and_swaps_are_events() {
    let listen = || {
        let heard = Heard::default();
        tracing::subscriber::with_default(heard.clone(), || {
            let shelf = Arc::new(Shelf::default());
            shelf.put(4, 0.5, None);
            shelf.champion.store(4, Ordering::SeqCst);
            let follower = Follower::new(loader(), shelf, "shop@champion".parse().unwrap()).unwrap();
            let endpoint = Endpoint::new("shop", SystemClock::new());
            follower.poll_blocking(&endpoint).unwrap();
        });
        heard.0
    };
    // Twice: if a test to which nobody listens comes upon a span first, `tracing` takes it that nobody ever will, until
    // another subscriber comes.
    listen();
    let lines = listen();
    let want = [
        "model_load version=shop/4",
        "model_load_stage stage=\"verify\"",
        "model_load_stage stage=\"build\"",
        "model_load_stage stage=\"warm_up\"",
        "INFO endpoint=\"shop\" subject=\"endpoint `shop`\" message=\"answers with champion shop/4 (1)\"",
    ];
    let lines = lines.lock().unwrap();
    assert_eq!(lines[..], want);
}
