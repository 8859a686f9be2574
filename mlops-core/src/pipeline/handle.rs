//! Typed names of values that do not exist yet, and how they are wired into steps.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::artifact::{Artifact, Codec, Erased, Many, typed};
use crate::Result;

/// The value that a step will give, before it ran. `Copy`, so a wiring reads like plain code.
///
/// Only a [`Pipeline`](super::Pipeline) makes handles, and only for steps that it already has. So a step
/// can take nothing but earlier values, and every pipeline is free of cycles and in order by construction:
///
/// ```compile_fail,E0425
/// use mlops_core::pipeline::Pipeline;
///
/// let mut p = Pipeline::new("cycle");
/// let a = p.step("a", |b: &u32| Ok(b + 1), b);
/// let b = p.step("b", |a: &u32| Ok(a + 1), a);
/// ```
///
/// A handle of the wrong type does not compile either:
///
/// ```compile_fail,E0277
/// use mlops_core::pipeline::Pipeline;
///
/// let mut p = Pipeline::new("mistyped");
/// let text = p.step("text", || Ok("x".to_owned()), ());
/// fn next(n: &u32) -> mlops_core::Result<u32> {
///     Ok(n + 1)
/// }
/// p.step("next", next, text);
/// // error[E0277]: a step that takes `&u32` is wired to a handle of `String`
/// //    = note: handles come in the order of the parameters of the function
/// p.step("next as a closure", |n: &u32| Ok(n + 1), text);
/// // error[E0277]: `{closure}` is not a step over `(String,)`
/// ```
///
/// Nor does a value that is no handle, a type that cannot pass between steps, or a condition that says neither yes
/// nor no:
///
/// ```compile_fail,E0277
/// # use mlops_core::pipeline::Pipeline;
/// # let mut p = Pipeline::new("plain");
/// // error[E0277]: `u32` cannot be wired into a step: a plain value becomes a handle by `pipeline.param(name, value)`
/// p.step("next", |n: &u32| Ok(n + 1), 3_u32);
/// ```
///
/// ```compile_fail,E0277
/// # use mlops_core::pipeline::Pipeline;
/// # let mut p = Pipeline::new("file");
/// // error[E0277]: `File` cannot pass between steps
/// p.step("open", || Ok(std::fs::File::open("rows.csv").unwrap()), ());
/// ```
///
/// ```compile_fail,E0277
/// # use mlops_core::pipeline::Pipeline;
/// # let mut p = Pipeline::new("undecided");
/// let score = p.step("score", || Ok(0.7), ());
/// // error[E0277]: `f64` does not say yes or no
/// p.require("gate", score);
/// ```
pub struct Handle<T> {
    pub(super) pipeline: u64,
    pub(super) slot: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    pub(super) fn new(pipeline: u64, slot: usize) -> Self {
        Self { pipeline, slot, of: PhantomData }
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle<{}>({})", std::any::type_name::<T>(), self.slot)
    }
}

/// One argument of a step: where its value comes from.
#[derive(Debug)]
pub struct Port {
    pub(super) pipeline: u64,
    pub(super) source: Source,
}

#[derive(Clone)]
pub(super) enum Source {
    One(usize),
    Many(Vec<usize>, fn(&[Erased]) -> Result<Erased>),
}

impl Source {
    pub(super) fn slots(&self) -> &[usize] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots, _) => slots,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slots().fmt(f)
    }
}

/// One argument: a handle, or a list of handles, which the step sees as [`Many`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an argument of a step",
    label = "want a `Handle<T>` or a `Vec<Handle<T>>`",
    note = "a plain value becomes a handle by `pipeline.param(name, value)`"
)]
pub trait Input {
    /// What the step sees a reference to.
    type Value: Artifact;

    #[doc(hidden)]
    fn port(&self) -> Port;
}

impl<T: Artifact> Input for Handle<T> {
    type Value = T;

    fn port(&self) -> Port {
        Port { pipeline: self.pipeline, source: Source::One(self.slot) }
    }
}

impl<T: Artifact> Input for Vec<Handle<T>> {
    type Value = Many<T>;

    fn port(&self) -> Port {
        let pipeline = match self.as_slice() {
            [] => 0,
            [first, rest @ ..] if rest.iter().all(|next| next.pipeline == first.pipeline) => first.pipeline,
            _ => super::pipeline::MIXED,
        };
        let slots = self.iter().map(|handle| handle.slot).collect();
        Port { pipeline, source: Source::Many(slots, gather::<T>) }
    }
}

impl<I: Input> Input for &I {
    type Value = I::Value;

    fn port(&self) -> Port {
        (**self).port()
    }
}

pub(super) fn gather<T: Artifact>(items: &[Erased]) -> Result<Erased> {
    let items = items.iter().map(typed::<T>).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Many::from_shared(items)))
}

/// The arguments of a step: `()`, one [`Input`], or a tuple of up to eight.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be wired into a step",
    label = "want `()`, a handle, or a tuple of handles",
    note = "a plain value becomes a handle by `pipeline.param(name, value)`"
)]
pub trait Inputs: Sized {
    /// The types that the step sees references to, as a tuple.
    type Values: Values;

    #[doc(hidden)]
    fn ports(self) -> Vec<Port>;
}

impl<I: Input> Inputs for I {
    type Values = (I::Value,);

    fn ports(self) -> Vec<Port> {
        vec![self.port()]
    }
}

/// A list that a [`map`](super::Pipeline::map) runs over: [`Many`], or a `Vec` of what can be cloned.
#[diagnostic::on_unimplemented(
    message = "a map cannot run over `{Self}`",
    label = "want a handle of a `Many<T>`, or of a `Vec<T>` with `T: Clone`"
)]
pub trait Items: Artifact {
    /// What the step sees a reference to, item by item.
    type Item: Artifact;

    #[doc(hidden)]
    fn items(&self) -> Vec<Arc<Self::Item>>;
}

impl<T: Artifact> Items for Many<T> {
    type Item = T;

    fn items(&self) -> Vec<Arc<T>> {
        self.shared().to_vec()
    }
}

impl<T: Artifact + Clone> Items for Vec<T>
where
    Self: Artifact,
{
    type Item = T;

    fn items(&self) -> Vec<Arc<T>> {
        self.iter().cloned().map(Arc::new).collect()
    }
}

/// Adds a join of two ports and gives its pipeline and slot. The text is its place in a tuple, such as `.1`.
pub(super) type Join<'a> = dyn FnMut(&str, [Port; 2], Codec) -> (u64, usize) + 'a;

/// What both ways of a [`Branch`](super::Branch) give: a handle, or a tuple of two to four.
#[diagnostic::on_unimplemented(
    message = "the ways of a branch cannot rejoin as `{Self}`",
    label = "want a handle, or a tuple of handles"
)]
pub trait Rejoin: Sized {
    #[doc(hidden)]
    fn rejoin(self, no: Self, place: &str, join: &mut Join<'_>) -> Self;
}

impl<T: Artifact> Rejoin for Handle<T> {
    fn rejoin(self, no: Self, place: &str, join: &mut Join<'_>) -> Self {
        let (pipeline, slot) = join(place, [self.port(), no.port()], Codec::of::<T>());
        Self::new(pipeline, slot)
    }
}

/// A tuple of artifact types.
pub trait Values: 'static {
    #[doc(hidden)]
    type Loaded;

    #[doc(hidden)]
    fn load(values: &[Erased]) -> Result<Self::Loaded>;
}

/// A tuple of artifact types with one more in front: the item of a map before its shared inputs.
pub trait Prepend<T> {
    /// The longer tuple.
    type Output: Values;
}

/// A tuple of two to four artifact types: what a step with several outputs gives.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tuple of artifacts",
    label = "want a tuple of two to four artifacts",
    note = "a step with one output is added by `pipeline.step`"
)]
pub trait Outputs: Send + Sync + 'static {
    /// A handle for each.
    type Handles;

    #[doc(hidden)]
    fn codecs() -> Vec<Codec>;

    #[doc(hidden)]
    fn erase(self) -> Vec<Erased>;

    #[doc(hidden)]
    fn handles(pipeline: u64, first: usize) -> Self::Handles;
}

macro_rules! inputs {
    ($($name:ident),*) => {
        impl<$($name: Input),*> Inputs for ($($name,)*) {
            type Values = ($($name::Value,)*);

            #[allow(non_snake_case, reason = "type names double as bindings")]
            fn ports(self) -> Vec<Port> {
                let ($($name,)*) = self;
                vec![$($name.port()),*]
            }
        }

        impl<$($name: Artifact),*> Values for ($($name,)*) {
            type Loaded = ($(Arc<$name>,)*);

            #[allow(unused_mut, unused_variables, clippy::unused_unit, reason = "the empty tuple loads nothing")]
            fn load(values: &[Erased]) -> Result<Self::Loaded> {
                let mut values = values.iter();
                Ok(($({
                    let missing = || crate::Error::internal("a step got fewer values than it is wired to");
                    typed::<$name>(values.next().ok_or_else(missing)?)?
                },)*))
            }
        }
    };
}

macro_rules! outputs {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Artifact),*> Outputs for ($($name,)*) {
            type Handles = ($(Handle<$name>,)*);

            fn codecs() -> Vec<Codec> {
                vec![$(Codec::of::<$name>()),*]
            }

            fn erase(self) -> Vec<Erased> {
                vec![$(Arc::new(self.$index)),*]
            }

            fn handles(pipeline: u64, first: usize) -> Self::Handles {
                ($(Handle::<$name>::new(pipeline, first + $index),)*)
            }
        }
    };
}

macro_rules! rejoin {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Rejoin),*> Rejoin for ($($name,)*) {
            fn rejoin(self, no: Self, place: &str, join: &mut Join<'_>) -> Self {
                ($(self.$index.rejoin(no.$index, &format!("{place}.{}", $index), join),)*)
            }
        }
    };
}

macro_rules! prepend {
    ($($name:ident),*) => {
        impl<First: Artifact, $($name: Artifact),*> Prepend<First> for ($($name,)*) {
            type Output = (First, $($name,)*);
        }
    };
}

inputs!();
inputs!(A);
inputs!(A, B);
inputs!(A, B, C);
inputs!(A, B, C, D);
inputs!(A, B, C, D, E);
inputs!(A, B, C, D, E, F);
inputs!(A, B, C, D, E, F, G);
inputs!(A, B, C, D, E, F, G, H);
outputs!(A 0, B 1);
outputs!(A 0, B 1, C 2);
outputs!(A 0, B 1, C 2, D 3);
rejoin!(A 0, B 1);
rejoin!(A 0, B 1, C 2);
rejoin!(A 0, B 1, C 2, D 3);
prepend!();
prepend!(A);
prepend!(A, B);
prepend!(A, B, C);
prepend!(A, B, C, D);
prepend!(A, B, C, D, E);
prepend!(A, B, C, D, E, F);
prepend!(A, B, C, D, E, F, G);
