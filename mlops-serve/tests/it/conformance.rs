//! The suite for runtimes: ours pass it, and each broken one fails it for its own reason.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mlops_core::{ElementType, ModelSignature, SystemClock, TensorSpec};
use mlops_serve::batch::{BatchRuntime, BatchSettings};
use mlops_serve::compose::{Chain, Ensemble};
use mlops_serve::isolation::{IsolatedRuntime, IsolationSettings};
use mlops_serve::runtime::{AutoRuntime, Capabilities, FnRuntime, Runtime, SignatureCheck, conformance};
use mlops_serve::tensor::{TensorBuf, TensorView, f16};
use mlops_serve::{Error, Result};

fn signature(element: ElementType) -> ModelSignature {
    ModelSignature {
        inputs: vec![TensorSpec::batch("x", element, 2)],
        outputs: vec![TensorSpec::batch("y", element, 2)],
    }
}

/// What is wrong with a runtime.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    TakesAnything,
    WrongKind,
    Drifts,
    MixesRows,
    CutsBatches,
    Grows,
    LeaksGaps,
    RemembersGaps,
    RefusesGapsAtTimes,
    LeavesOutputs,
}

/// Doubles every number.
#[derive(Debug)]
struct Doubles {
    check: SignatureCheck,
    fault: Fault,
    calls: AtomicUsize,
    gap: AtomicBool,
}

impl Doubles {
    fn new(fault: Fault) -> Self {
        let check = SignatureCheck::new(signature(ElementType::F32)).unwrap();
        Self { check, fault, calls: AtomicUsize::new(0), gap: AtomicBool::new(false) }
    }
}

impl Runtime for Doubles {
    fn engine(&self) -> &str {
        "doubles"
    }

    fn signature(&self) -> &ModelSignature {
        self.check.signature()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::row_function()
    }

    fn memory_usage(&self) -> usize {
        size_of::<Self>()
    }

    fn run(&self, inputs: &[TensorView<'_>], outputs: &mut [TensorBuf]) -> Result<()> {
        self.check.buffers(outputs)?;
        match (self.fault, self.check.inputs(inputs)) {
            (Fault::TakesAnything, Err(_)) => {
                outputs[0].reset::<f32>([1, 2])?.fill(0.0);
                return Ok(());
            }
            (Fault::WrongKind, Err(error)) => return Err(Error::internal("it broke").with_source(error)),
            (_, outcome) => outcome?,
        };
        let calls = self.calls.fetch_add(1, Ordering::SeqCst);
        let x = inputs[0].values::<f32>()?;
        let gap = x.iter().any(|x| x.is_nan());
        self.gap.fetch_or(gap, Ordering::SeqCst);
        if self.fault == Fault::Grows {
            outputs[0].reset::<f32>([100 * (calls + 1)])?;
        }
        if self.fault == Fault::LeavesOutputs && calls > 0 {
            return Ok(());
        }
        if self.fault == Fault::RefusesGapsAtTimes && gap && calls.is_multiple_of(2) {
            return Err(Error::invalid("not now"));
        }
        let sum: f32 = x.iter().sum();
        let y = outputs[0].reset::<f32>(inputs[0].shape())?;
        for (place, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y = match self.fault {
                Fault::Drifts => 2.0 * x + calls as f32,
                Fault::MixesRows if !gap => 2.0 * x + sum,
                Fault::CutsBatches if place >= 64 => 0.0,
                Fault::LeaksGaps if gap => f32::NAN,
                Fault::RemembersGaps if self.gap.load(Ordering::SeqCst) => f32::NAN,
                _ => 2.0 * x,
            };
        }
        Ok(())
    }
}

const ROWS: [f32; 6] = [1.0, 2.0, 3.0, 4.0, -5.0, 0.0];

#[test]
fn every_fault_is_found() {
    let sample = [TensorView::new(&ROWS, [3, 2]).unwrap()];
    let verdict = |fault| conformance::check(&Doubles::new(fault), &sample, 0.0);
    verdict(Fault::None).unwrap();
    for (fault, reason) in [
        (Fault::TakesAnything, "are answered"),
        (Fault::WrongKind, "the error is of kind Internal"),
        (Fault::Drifts, "the same call gives different answers"),
        (Fault::MixesRows, "row 0 alone differs"),
        (Fault::CutsBatches, "rows among many differ"),
        (Fault::Grows, "output buffers grow"),
        (Fault::LeaksGaps, "missing numbers of a row change the answers to others"),
        (Fault::RemembersGaps, "missing numbers"),
        (Fault::RefusesGapsAtTimes, "now answered, now refused"),
        (Fault::LeavesOutputs, "the same call gives different answers"),
    ] {
        let error = verdict(fault).expect_err(reason);
        assert!(format!("{error:#}").contains(reason), "{fault:?}: {error:#}");
    }
}

fn function(element: ElementType) -> FnRuntime {
    FnRuntime::new("doubles", signature(element), |inputs, outputs| {
        let shape = inputs[0].shape();
        if let Ok(x) = inputs[0].values::<f16>() {
            let y = outputs[0].reset::<f16>(shape)?;
            y.iter_mut().zip(x).for_each(|(y, x)| *y = f16::from_f32(2.0 * x.to_f32()));
        } else {
            let y = outputs[0].reset::<f32>(shape)?;
            y.iter_mut().zip(inputs[0].values::<f32>()?).for_each(|(y, x)| *y = 2.0 * x);
        }
        Ok(())
    })
    .unwrap()
}

#[test]
fn our_runtimes_keep_the_contract() {
    let floats = [TensorView::new(&ROWS, [3, 2]).unwrap()];
    let halves = ROWS.map(f16::from_f32);
    let halves = [TensorView::new(&halves, [3, 2]).unwrap()];
    let clock = SystemClock::new;
    for (element, sample) in [(ElementType::F32, floats), (ElementType::F16, halves)] {
        let one = || function(element);
        let boxed = || Box::new(one()) as Box<dyn Runtime>;
        let candidates = [("one", Ok(boxed())), ("other", Ok(boxed()))];
        let runtimes: Vec<(&str, Box<dyn Runtime>)> = vec![
            ("function", boxed()),
            ("auto", Box::new(AutoRuntime::measure(candidates, &sample, &clock()).unwrap())),
            ("isolated", Box::new(IsolatedRuntime::new(one(), IsolationSettings::default()).unwrap())),
            ("batching", Box::new(BatchRuntime::new(one(), BatchSettings::default(), clock()).unwrap())),
            ("ensemble", Box::new(Ensemble::new(vec![(boxed(), 1.0), (boxed(), 3.0)]).unwrap())),
            ("chain", Box::new(Chain::new(vec![boxed()]).unwrap())),
        ];
        for (name, runtime) in runtimes {
            conformance::check(&*runtime, &sample, 0.0)
                .unwrap_or_else(|error| panic!("{name} of {element}: {error:#}"));
        }
    }
}
