//! A wired step without its types.

use std::sync::Arc;

use super::artifact::{Codec, Erased, typed};
use super::branch::Decision;
use super::context::Context;
use super::handle::{Handle, Source};
use super::step::Step;
use crate::{Digest, Result};

pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) step: Step,
    /// The path of the function; empty for nodes without one.
    pub(super) code: &'static str,
    pub(super) uses_context: bool,
    pub(super) sources: Vec<Source>,
    pub(super) outputs: Vec<Output>,
    /// The slot of the first output.
    pub(super) first: usize,
    pub(super) guards: Arc<[Guard]>,
    /// The part of the cache key that the wiring decides.
    pub(super) fixed: Digest,
    pub(super) work: Work,
}

impl Node {
    /// Whether it does something in a run, and is not merely a value from outside.
    pub(super) fn is_step(&self) -> bool {
        !matches!(self.work, Work::Param(_) | Work::Input)
    }
}

pub(super) struct Output {
    pub(super) name: Arc<str>,
    pub(super) format: String,
    pub(super) codec: Codec,
}

pub(super) type Call = Box<dyn Fn(&Context, &[Erased]) -> Result<Vec<Erased>> + Send + Sync>;

pub(super) enum Work {
    Param(Param),
    Input,
    Call(Call),
    Each(Each),
    /// Takes condition, yes and no; gives yes or no.
    Join(fn(&Erased) -> Result<bool>),
    /// Takes a decision; gives the reason if it says no.
    Require(fn(&Erased) -> Result<Option<String>>),
    Approval,
}

pub(super) struct Param {
    pub(super) default: Erased,
    pub(super) digest: Digest,
    pub(super) to_json: fn(&Erased) -> Result<serde_json::Value>,
    pub(super) of_json: fn(&serde_json::Value) -> Result<Erased>,
}

/// The work of a map: its first input is the list.
pub(super) struct Each {
    pub(super) item: Codec,
    pub(super) output: Codec,
    pub(super) items: fn(&Erased) -> Result<Vec<Erased>>,
    /// The items of its output.
    pub(super) results: fn(&Erased) -> Result<Vec<Erased>>,
    pub(super) gather: fn(&[Erased]) -> Result<Erased>,
    pub(super) call: Call,
}

/// A node behind this guard runs only if the decision in the slot is as wanted.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    pub(super) pipeline: u64,
    pub(super) slot: usize,
    pub(super) wanted: bool,
    /// The node of the gate that set it up, if one did.
    pub(super) gate: Option<usize>,
    pub(super) passes: fn(&Erased) -> Result<bool>,
}

impl Guard {
    pub(super) fn on<D: Decision>(decision: Handle<D>, wanted: bool) -> Self {
        let passes = |value: &Erased| Ok(typed::<D>(value)?.passed());
        Self { pipeline: decision.pipeline, slot: decision.slot, wanted, gate: None, passes }
    }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        (self.pipeline, self.slot, self.wanted) == (other.pipeline, other.slot, other.wanted)
    }
}
