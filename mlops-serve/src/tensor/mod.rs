//! Tensors at the edge of a model: borrowed views going in, reused buffers coming out.
//!
//! A [`TensorView`] borrows a slice, an `ndarray` array or an Arrow array without copying. A [`TensorBuf`]
//! owns its elements and keeps its memory from call to call, so a warm caller allocates nothing. Both are
//! dense, in row-major order, with at most [`Shape::MAX_RANK`] axes. By convention the first axis counts
//! rows.

mod arrays;
mod buf;
mod element;
mod shape;
mod text;
mod view;

/// The 16-bit float of models in half precision, of the crate `half`.
pub use half::f16;

pub use buf::TensorBuf;
pub use element::Element;
pub use shape::Shape;
pub use text::{Text, TextBuf};
pub use view::{TensorData, TensorView};
