//! What a step does and how it is run.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::artifact::Artifact;
use super::context::Context;
use super::handle::Values;
use super::retry::Retry;
use crate::{ErrorKind, Result};

/// The name of a step and how it is run. A text is one with the defaults: version 1, cached for ever, not
/// retried, no timeout.
///
/// ```
/// use mlops_core::pipeline::{Retry, Step};
/// use std::time::Duration;
///
/// let train = Step::new("train").version(2).timeout(Duration::from_secs(3600));
/// let push = Step::new("push").always().retry(Retry::times(3));
/// ```
#[derive(Clone, Debug)]
pub struct Step {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) always: bool,
    pub(super) expires_after: Option<Duration>,
    pub(super) retries: Vec<(ErrorKind, Retry)>,
    pub(super) timeout: Option<Duration>,
}

impl Step {
    /// A step of this name, which is unique in its pipeline: among parameters, inputs, gates and approvals too.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: 1,
            always: false,
            expires_after: None,
            retries: Vec::new(),
            timeout: None,
        }
    }

    /// Sets the version of the code. Raise it when the function computes something else than before: the
    /// cache sees inputs and the path of the function, never the code itself, nor what a closure captured. Two
    /// closures in one function have the same path.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Runs the step once in every run, whatever earlier runs computed: for a read of data that changes
    /// under the same name, and for effects on the world.
    ///
    /// A run that is resumed still takes what the step gave before the interruption. An effect that was cut
    /// off half-way is repeated with the same [`operation_id`](Context::operation_id), by which the other
    /// side recognises it.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// Takes cached results only up to this age.
    #[must_use]
    pub fn expires_after(mut self, age: Duration) -> Self {
        self.expires_after = Some(age);
        self
    }

    /// Retries what fails with a retryable error ([`ErrorKind::Unavailable`]).
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        self.retry_on(ErrorKind::Unavailable, retry)
    }

    /// Retries errors of this kind by a budget of their own.
    #[must_use]
    pub fn retry_on(mut self, kind: ErrorKind, retry: Retry) -> Self {
        self.retries.retain(|(known, _)| *known != kind);
        self.retries.push((kind, retry));
        self
    }

    /// Of an [`approval`](super::Pipeline::approval): how long it may be answered, from when the run suspends. Of any other step: fails an attempt
    /// that takes longer, with [`ErrorKind::Unavailable`].
    ///
    /// The step is asked, not killed: [`Context::checkpoint`] fails once the time is over, and a result that
    /// comes later is refused. So an effect on the world may have happened: with [`retry`](Self::retry) it is
    /// repeated, under the same [`operation_id`](Context::operation_id).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Step {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// A function that can be a step over values of these types.
///
/// It takes each value by reference, in the order of the handles, after a [`&Context`](Context) if it wants
/// one, and gives a [`Result`]. It may take what the value [lends](Lend): `&[T]` for a `Vec<T>`, `&str`
/// for a `String`, `&RecordBatch` for a `Table`. Plain functions and closures are such steps:
///
/// ```
/// use mlops_core::Result;
/// use mlops_core::pipeline::{Context, Pipeline};
///
/// fn count(words: &[String]) -> Result<usize> {
///     Ok(words.len())
/// }
///
/// fn pick(cx: &Context, words: &[String], count: &usize) -> Result<String> {
///     use rand::RngExt;
///     Ok(words[cx.seed().rng().random_range(..*count)].clone())
/// }
///
/// let mut p = Pipeline::new("words");
/// let words = p.step("words", || Ok(vec!["drift".to_owned(), "gate".to_owned()]), ());
/// let count = p.step("count", count, words);
/// let word = p.step("pick", pick, (words, count));
/// ```
///
/// `Out` and `Marker` are found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step over `{In}`",
    label = "does not take references to these values, in this order, or does not give a `Result`",
    note = "a step is `fn(&A, &B, ..) -> mlops_core::Result<Out>` for handles of `A`, `B`, ..",
    note = "it may take `&Context` first",
    note = "a list of handles arrives as `&Many<T>`"
)]
pub trait StepFn<In: Values, Out, Marker>: Send + Sync + 'static {
    #[doc(hidden)]
    const USES_CONTEXT: bool;

    #[doc(hidden)]
    fn call(&self, context: &Context, values: In::Loaded) -> Result<Out>;
}

/// What a step may take a reference to, when it is wired to a handle of this type: the value itself, or a part
/// of it that functions rather take.
///
/// ```
/// use mlops_core::pipeline::Lend;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Labels(Vec<bool>);
///
/// impl Lend<[bool]> for Labels {
///     fn lend(&self) -> &[bool] {
///         &self.0
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a step that takes `&{Borrowed}` is wired to a handle of `{Self}`",
    label = "takes `&{Borrowed}` where the handle gives `{Self}`",
    note = "handles come in the order of the parameters of the function"
)]
pub trait Lend<Borrowed: ?Sized>: Artifact {
    /// The reference that the step gets.
    fn lend(&self) -> &Borrowed;
}

impl<T: Artifact> Lend<T> for T {
    fn lend(&self) -> &T {
        self
    }
}

impl<T> Lend<[T]> for Vec<T>
where
    Self: Artifact,
{
    fn lend(&self) -> &[T] {
        self
    }
}

impl Lend<str> for String {
    fn lend(&self) -> &str {
        self
    }
}

impl Lend<Path> for PathBuf {
    fn lend(&self) -> &Path {
        self
    }
}

/// Marks a step that takes values alone, borrowed as these types.
#[derive(Debug)]
pub struct Plain<Borrowed>(PhantomData<Borrowed>);

/// Marks a step that takes the context first, then values borrowed as these types.
#[derive(Debug)]
pub struct WithContext<Borrowed>(PhantomData<Borrowed>);

macro_rules! step_fn {
    ($($name:ident $borrowed:ident),*) => {
        impl<Fun, Out, $($name, $borrowed),*> StepFn<($($name,)*), Out, Plain<($(PhantomData<$borrowed>,)*)>> for Fun
        where
            Fun: Fn($(&$borrowed),*) -> Result<Out> + Send + Sync + 'static,
            $($name: Lend<$borrowed>, $borrowed: ?Sized,)*
        {
            const USES_CONTEXT: bool = false;

            #[allow(non_snake_case, reason = "type names double as bindings")]
            fn call(&self, _: &Context, values: <($($name,)*) as Values>::Loaded) -> Result<Out> {
                let ($($name,)*) = values;
                self($($name.lend()),*)
            }
        }

        impl<Fun, Out, $($name, $borrowed),*> StepFn<($($name,)*), Out, WithContext<($(PhantomData<$borrowed>,)*)>> for Fun
        where
            Fun: Fn(&Context, $(&$borrowed),*) -> Result<Out> + Send + Sync + 'static,
            $($name: Lend<$borrowed>, $borrowed: ?Sized,)*
        {
            const USES_CONTEXT: bool = true;

            #[allow(non_snake_case, reason = "type names double as bindings")]
            fn call(&self, context: &Context, values: <($($name,)*) as Values>::Loaded) -> Result<Out> {
                let ($($name,)*) = values;
                self(context, $($name.lend()),*)
            }
        }
    };
}

step_fn!();
step_fn!(A ARef);
step_fn!(A ARef, B BRef);
step_fn!(A ARef, B BRef, C CRef);
step_fn!(A ARef, B BRef, C CRef, D DRef);
step_fn!(A ARef, B BRef, C CRef, D DRef, E ERef);
step_fn!(A ARef, B BRef, C CRef, D DRef, E ERef, F FRef);
step_fn!(A ARef, B BRef, C CRef, D DRef, E ERef, F FRef, G GRef);
step_fn!(A ARef, B BRef, C CRef, D DRef, E ERef, F FRef, G GRef, H HRef);
