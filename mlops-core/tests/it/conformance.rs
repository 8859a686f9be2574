//! The suites of `mlops_core::conformance`: what this crate implements passes, what is broken is caught.

mod model_source;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mlops_core::conformance::{check_artifact, check_clock, check_event_sink, check_observer};
use mlops_core::pipeline::{Artifact, Blob, EventObserver, Many, Notice, Observer, Pipeline, Runner};
use mlops_core::trigger::{ContinuousTraining, TriggerPolicy};
use mlops_core::{
    Clock, Error, ErrorKind, Event, EventLog, EventSink, ManualClock, Result, Severity, SystemClock,
    Timestamp,
};

/// Far more than any of these bursts takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The suite says what is broken, in these words.
fn caught(result: Result<()>, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error:#}");
    assert!(error.to_string().contains(words), "{error:#}");
}

#[test]
fn clocks_conform() {
    check_clock(&SystemClock::new()).unwrap();
    check_clock(&Arc::new(SystemClock::new())).unwrap();
    let clock = ManualClock::new(Timestamp::from_micros(i64::MAX));
    check_clock(&clock).unwrap();
    let checked = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !checked.load(Ordering::SeqCst) {
                clock.advance(Duration::from_nanos(7));
                clock.set(Timestamp::EPOCH);
            }
        });
        let result = check_clock(&clock);
        checked.store(true, Ordering::SeqCst);
        result.unwrap();
    });
}

#[test]
fn broken_clocks_are_caught() {
    #[derive(Debug)]
    struct Broken(fn(&AtomicU64) -> u64, AtomicU64);

    impl Clock for Broken {
        fn now(&self) -> Timestamp {
            Timestamp::EPOCH
        }

        fn monotonic_ns(&self) -> u64 {
            (self.0)(&self.1)
        }
    }

    thread_local!(static START: Cell<Option<u64>> = const { Cell::new(None) });
    let check = |read, words| caught(check_clock(&Broken(read, AtomicU64::new(5))), words);
    check(|left| left.fetch_sub(1, Ordering::SeqCst), "goes back in a thread: 5, then 4");
    // Stands still in each thread, at a place of its own.
    let apart = |left: &AtomicU64| {
        let start = START.get().unwrap_or_else(|| left.fetch_sub(1, Ordering::SeqCst));
        START.set(Some(start));
        start
    };
    check(apart, "goes back from thread to thread: 5 in one, then ");
    check(|_| panic!("it stopped"), "the clock panics: it stopped");
}

#[test]
fn event_sinks_conform() {
    let log = Arc::new(EventLog::default());
    check_event_sink(log.clone(), PATIENCE).unwrap();
    assert_eq!(log.take().len() % 4, 0);
    let mut p = Pipeline::new("shop");
    p.step("train", || Ok(1_u32), ());
    let runner = Runner::new(ManualClock::new(Timestamp::EPOCH));
    let training = ContinuousTraining::new("shop", runner, p, TriggerPolicy::default()).unwrap();
    check_event_sink(Arc::new(training), PATIENCE).unwrap();
}

/// Does this with every event and notice.
#[derive(Debug)]
struct Does(fn(Option<&Event>));

impl EventSink for Does {
    fn emit(&self, event: &Event) {
        (self.0)(Some(event));
    }
}

impl Observer for Does {
    fn observe(&self, _: &str, notice: &Notice<'_>) {
        match notice {
            Notice::Event { event, .. } => (self.0)(Some(event)),
            _ => (self.0)(None),
        }
    }
}

fn no_criticals(event: Option<&Event>) {
    assert!(event.is_none_or(|event| event.severity != Severity::Critical), "no pager");
}

fn waits_for_ever(_: Option<&Event>) {
    loop {
        std::thread::park();
    }
}

#[test]
fn broken_event_sinks_are_caught() {
    caught(check_event_sink(Arc::new(Does(no_criticals)), PATIENCE), "`emit` panics: no pager");
    let short = Duration::from_millis(20);
    caught(check_event_sink(Arc::new(Does(waits_for_ever)), short), "`emit` blocks: ");
}

#[test]
fn observers_conform() {
    let events = EventObserver::new(Arc::new(EventLog::default()), Arc::new(SystemClock::new()));
    check_observer(Arc::new(Arc::new(events)), PATIENCE).unwrap();
    #[cfg(feature = "progress")]
    {
        use indicatif::{MultiProgress, ProgressDrawTarget};
        use mlops_core::pipeline::ProgressBars;

        let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        check_observer(Arc::new(ProgressBars::new(hidden)), PATIENCE).unwrap();
    }
    #[cfg(feature = "telemetry")]
    check_observer(Arc::new(mlops_core::pipeline::Telemetry), PATIENCE).unwrap();
}

#[test]
fn broken_observers_are_caught() {
    caught(check_observer(Arc::new(Does(no_criticals)), PATIENCE), "`observe` panics: no pager");
    let short = Duration::from_millis(20);
    caught(check_observer(Arc::new(Does(waits_for_ever)), short), "`observe` blocks: ");
}

fn conforms<T: Artifact + PartialEq>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(|value| check_artifact(&value, PartialEq::eq).unwrap());
}

#[test]
fn artifacts_conform() {
    conforms([0, 23, 24, u64::MAX]);
    conforms([0.0, -0.0, 0.1, f64::NEG_INFINITY]);
    check_artifact(&f64::NAN, |a, b| a.to_bits() == b.to_bits()).unwrap();
    conforms([true, false]);
    conforms([()]);
    conforms([String::new(), "ü".repeat(5_000)]);
    conforms([None, Some(vec![1_u8, 2])]);
    conforms([BTreeMap::new(), (0..300).map(|key| ((key, 'a'), "x".to_owned())).collect()]);
    conforms([Blob::default(), Blob::from("abc"), Blob::from(vec![0; 70_000])]);
    conforms([Many::from(vec![]), Many::from(vec![Blob::default()]), Many::from(vec![Blob::from("a"); 3])]);
    conforms([Many::from(vec![1.5, -2.5]), (0..100).map(f64::from).collect()]);
    conforms([Many::from(vec![Many::from(vec![1_u8]), Many::from(vec![])])]);
}

#[cfg(feature = "ipc")]
#[test]
fn tables_conform() {
    use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray};
    use mlops_core::data::{Column, ColumnKind, Dataset, Role, TableSchema};
    use mlops_core::pipeline::Table;

    let batch = RecordBatch::try_from_iter([
        ("x", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::INFINITY)])) as _),
        // Cells that look like the mark at the end of a stream.
        ("n", Arc::new(Int64Array::from(vec![0xffff_ffff; 3])) as _),
        ("s", Arc::new(StringArray::from(vec!["a", "", "ü"])) as _),
    ])
    .unwrap();
    let cuts = [(0, 3), (0, 0), (1, 1)].map(|(from, rows)| batch.slice(from, rows));
    conforms(cuts.iter().cloned().map(Table));
    conforms([cuts.iter().cloned().map(Table).collect::<Many<_>>()]);
    let schema = TableSchema::new([
        Column::new("x", ColumnKind::Float).range(0.0, f64::INFINITY),
        Column::new("n", ColumnKind::Integer),
        Column::new("s", ColumnKind::Text).role(Role::Id),
    ])
    .unwrap();
    for batches in [vec![], vec![batch.clone()], cuts.to_vec()] {
        let data = Dataset::new(schema.clone(), batches).unwrap();
        let equals =
            |a: &Dataset, b: &Dataset| a.fingerprint() == b.fingerprint() && a.schema() == b.schema();
        check_artifact(&data, equals).unwrap();
    }
}

/// Numbers as bytes, with one fault.
#[derive(Debug, PartialEq)]
struct Broken<const FAULT: u8>(Vec<u32>);

const LENIENT: u8 = 1;
const PANICS: u8 = 2;
const FORGETS: u8 = 3;
const SHORT_WRITES: u8 = 4;
const DEAF: u8 = 5;
const UNNAMED: u8 = 6;

impl<const FAULT: u8> Artifact for Broken<FAULT> {
    fn format() -> Cow<'static, str> {
        if FAULT == UNNAMED { "".into() } else { "u32 little endian, 1".into() }
    }

    fn encode(&self, out: &mut dyn Write) -> Result<()> {
        let skip = usize::from(FAULT == FORGETS);
        for number in self.0.iter().skip(skip) {
            let bytes = number.to_le_bytes();
            let written = match FAULT {
                SHORT_WRITES => out.write(&bytes).map(drop),
                _ => out.write_all(&bytes),
            };
            if FAULT != DEAF {
                written.map_err(|error| Error::unavailable("cannot write").with_source(error))?;
            }
        }
        Ok(())
    }

    fn decode(bytes: Bytes) -> Result<Self> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        assert!(FAULT != PANICS || rest.is_empty(), "odd length");
        if FAULT != LENIENT && !rest.is_empty() {
            return Err(Error::data(format!("{} bytes are not a row of u32", bytes.len())));
        }
        Ok(Self(numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()))
    }
}

#[test]
fn broken_artifacts_are_caught() {
    fn check<const FAULT: u8>() -> Result<()> {
        check_artifact(&Broken::<FAULT>(vec![1, 2, 3]), PartialEq::eq)
    }
    check::<0>().unwrap();
    caught(check::<LENIENT>(), "`decode` takes the first 1 of 12 bytes for a value");
    caught(check::<PANICS>(), "`decode` panics on 1 bytes: odd length");
    caught(check::<FORGETS>(), "`decode` of `encode` gives another value");
    caught(check::<SHORT_WRITES>(), "`encode` loses bytes when a writer takes one at a time: 3 of 12");
    caught(check::<DEAF>(), "`encode` to a writer that fails after 0 bytes");
    caught(check::<UNNAMED>(), "`format` is empty");
    let chance: HashMap<u32, u32> = (0..64).map(|key| (key, key)).collect();
    caught(check_artifact(&chance, PartialEq::eq), "`encode` gives other bytes for the same value");
    caught(check_artifact(&f64::NAN, PartialEq::eq), "`decode` of `encode` gives another value");
}
