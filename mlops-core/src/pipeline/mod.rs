//! Pipelines: typed steps that cache, resume and explain themselves, inside your own process.
//!
//! A pipeline is plain functions, wired by typed handles. A wrong wiring does not compile; a right one is
//! free of cycles and in order by construction.
//!
//! ```
//! use mlops_core::pipeline::{Context, Pipeline, Request, Runner, Step};
//! use mlops_core::{Result, Seed, SystemClock};
//!
//! # type Rows = Vec<(f64, bool)>;
//! fn read(path: &str) -> Result<Rows> {
//!     // ..
//! #   let _ = path;
//! #   Ok((0..100).map(|i| (f64::from(i), i > 40)).collect())
//! }
//!
//! fn holdout(rows: &[(f64, bool)]) -> Result<(Rows, Rows)> {
//!     let (train, test) = rows.split_at(rows.len() / 2);
//!     Ok((train.to_vec(), test.to_vec()))
//! }
//!
//! fn train(rows: &[(f64, bool)], rounds: &u32) -> Result<f64> {
//!     // ..
//! #   Ok(rows.len() as f64 - f64::from(*rounds))
//! }
//!
//! fn evaluate(cx: &Context, model: &f64, rows: &[(f64, bool)]) -> Result<f64> {
//!     let right = rows.iter().filter(|(x, y)| (x > model) == *y).count();
//!     let accuracy = right as f64 / rows.len() as f64;
//!     cx.metric("accuracy", accuracy);
//!     Ok(accuracy)
//! }
//!
//! fn register(cx: &Context, model: &f64) -> Result<String> {
//!     Ok(format!("registered {model} as {}", cx.operation_id().short()))
//! }
//!
//! let mut p = Pipeline::new("shop");
//! let source = p.param("source", "sessions.csv".to_owned());
//! let rounds = p.param("rounds", 10_u32);
//! let floor = p.param("floor", 0.8);
//!
//! let rows = p.step(Step::new("read").always(), read, source);
//! let (fit, test) = p.split("split", holdout, rows);
//! let model = p.step("train", train, (fit, rounds));
//! let accuracy = p.step("evaluate", evaluate, (model, test));
//! let good = p.step("good", |accuracy: &f64, floor: &f64| Ok(accuracy >= floor), (accuracy, floor));
//! p.require("gate", good);
//! let version = p.step(Step::new("register").always(), register, model);
//!
//! let runner = Runner::new(SystemClock::new());
//! let done = runner.run(&p, Request::new("2026-05-01").seed(Seed::new(7)))?;
//! assert!(done.get(version)?.starts_with("registered 40"));
//! assert_eq!(done.run.metrics()["accuracy"], 1.0);
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! # What a run promises
//! * With a [`Store`], a step whose code, version and inputs did not change is not computed again, in this
//!   run or any other. [`Runner::plan`] says for each step what would happen, and why.
//! * Running the same run id again resumes it: what was committed does not run twice, at whatever byte the
//!   process was killed. An effect on the world that was cut off half-way is repeated with the same
//!   [`operation id`](Context::operation_id).
//! * Time, paths and run ids are no part of a cache key; secrets are no part of anything that is written.
//! * A step that panics fails like any other. Only errors that a step's [`Retry`] budget names are retried.
//! * Nothing waits for a person: an [`approval`](Pipeline::approval) suspends the run, and running it again
//!   goes on.
//! * The [`Run`](crate::run::Run) record holds parameters, metrics, and the digest of every artifact with
//!   its [lineage](crate::run::Run::lineage).
//!
//! # For people who know SageMaker Pipelines
//!
//! | there | here |
//! |---|---|
//! | pipeline parameter | [`Pipeline::param`], set by [`Request::param`] |
//! | Processing, Training step | [`Pipeline::step`]; several outputs: [`Pipeline::split`] |
//! | Tuning, AutoML step | [`Pipeline::map`] over the settings or candidates, then a step that takes the best of [`Many`] |
//! | Transform step (batch inference) | [`Pipeline::map`] over parts of the data |
//! | Model, RegisterModel step | a step that is [`always`](Step::always) run, with [`Context::operation_id`] |
//! | Condition step | a step that gives `bool` or a [`Decision`], then [`Pipeline::when`]; its two ways [rejoin](Branch::otherwise), as one value or as a tuple |
//! | `ConditionEquals`, `GreaterThan`, `GreaterThanOrEqualTo`, `LessThan`, `LessThanOrEqualTo`, `In`, `Not`, `Or` | `==`, `>`, `>=`, `<`, `<=`, `contains`, `!`, `\|\|` in that step |
//! | Fail step | [`Pipeline::require`], or a step that returns an error |
//! | Callback step, approval of a model package | [`Pipeline::approval`], answered by [`Store::decide`]; [`Step::timeout`] says up to when |
//! | QualityCheck, ClarifyCheck step | a step that gives a [`Verdict`](crate::evaluation::Verdict), then [`Pipeline::require`]; the baseline is an input of it |
//! | Lambda, EMR, EMR Serverless, Notebook job, Join step | a step, whose function does it; `Join` takes the paths apart and together itself, here handles do |
//! | Endpoint, EndpointConfig step | a step that is [`always`](Step::always) run and rolls out |
//! | step decorator `@step` | [`Pipeline::step`] with any function |
//! | property references, `DependsOn` | handles |
//! | cache with `ExpireAfter` | on with a [`Store`]; [`Step::expires_after`] |
//! | retry policies by exception, backoff, attempts or expiry | [`Step::retry_on`] with a [`Retry`], which has jitter too |
//! | `MaxRuntimeInSeconds` | [`Step::timeout`]; of the whole run: [`Request::timeout`] |
//! | selective execution | [`Request::only`], with [`Request::inject`] for what is not to run |
//! | `ParallelismConfiguration` | [`Runner::with_threads`] |
//! | execution, its status and its lineage | [`Run`](crate::run::Run), [`RunStatus`](crate::run::RunStatus) |
//! | EventBridge schedules and rules | [`trigger`](crate::trigger) |
//!
//! # What it does not do
//! It does not see into functions: raise [`Step::version`] when one computes something else, and wire what a closure
//! would capture as a [`param`](Pipeline::param), since captured values are in no cache key. It does not
//! kill threads: timeouts and cancellation are asked for at [`Context::checkpoint`]. It keeps the values of a
//! run in memory until the run is dropped.

mod approval;
mod artifact;
mod attempts;
mod branch;
mod context;
mod diagram;
mod engine;
mod handle;
mod key;
mod node;
mod observer;
mod parallel;
#[allow(clippy::module_inception, reason = "the noun of the folder")]
mod pipeline;
mod plan;
#[cfg(feature = "progress")]
mod progress;
mod request;
mod retry;
mod runner;
mod spawn;
mod step;
pub mod store;
#[cfg(feature = "ipc")]
mod table;
#[cfg(feature = "telemetry")]
mod telemetry;
mod unit;

pub use approval::Approval;
pub use artifact::{Artifact, Blob, Many, digest};
pub use branch::{Branch, Decision};
pub use context::{CancelToken, Context, Secret};
pub(crate) use engine::journal::StartedOtherwise;
pub use handle::{Handle, Input, Inputs, Items, Outputs, Prepend, Rejoin, Values};
pub use key::KeyFields;
pub use observer::{EventObserver, Notice, Observer};
pub use pipeline::Pipeline;
pub use plan::{Plan, Planned, PlannedStep, Reason};
#[cfg(feature = "progress")]
pub use progress::ProgressBars;
pub use request::Request;
pub use retry::Retry;
pub use runner::{Execution, Runner};
pub use spawn::Running;
pub use step::{Lend, Step, StepFn};
pub use store::Store;
#[cfg(feature = "ipc")]
pub use table::Table;
#[cfg(feature = "telemetry")]
pub use telemetry::Telemetry;
