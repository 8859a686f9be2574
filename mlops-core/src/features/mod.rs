//! Features: how raw cells become the numbers that a model takes, the same way in training and in serving.
//!
//! An [`Encoder`] is fitted once, on the training rows. It is a serde value: save it with the model, and the
//! endpoint encodes requests by the very code and the very numbers that training used.
//!
//! ```
//! use mlops_core::data::{Column, ColumnKind, Dataset, TableSchema, Value};
//! use mlops_core::features::{Encoder, EncoderSpec, Transform};
//!
//! let schema = TableSchema::new([
//!     Column::new("page_value", ColumnKind::Float),
//!     Column::new("visitor", ColumnKind::Text),
//! ])?;
//! let csv = "page_value,visitor\n0,new\n4,returning\n8,returning\n";
//! let train = Dataset::from_csv(csv.as_bytes(), schema)?;
//! let spec = EncoderSpec::new([
//!     ("page_value", Transform::standardise()),
//!     ("visitor", Transform::one_hot(10)),
//! ]);
//! let encoder = Encoder::fit(&spec, &train)?;
//! assert_eq!(encoder.output_names(), ["page_value", "visitor=new", "visitor=returning"]);
//!
//! let mut row = [0.0; 3];
//! encoder.encode_row(&[Value::Float(4.0), Value::Text("new")], &mut row)?;
//! assert_eq!(row, [0.0, 1.0, 0.0]);
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! A model with several inputs, ids for its embeddings beside floats for instance, has a part of the encoder for
//! each: [`EncoderSpec::indices`] and [`EncoderSpec::floats`] name them, [`Encoder`] has an example.
//!
//! | transform | takes | gives |
//! |---|---|---|
//! | [`Numeric`](Transform::Numeric) | numbers, truth values, times | one number: as it is, standardised or scaled to 0..1 |
//! | [`Bucketise`](Transform::Bucketise) | numbers | the index of the bucket |
//! | [`OneHot`](Transform::OneHot) | text, truth values, whole numbers | a 0 or 1 for each frequent category |
//! | [`Vocabulary`](Transform::Vocabulary) | text, truth values, whole numbers | the index of the category, the most frequent first |
//! | [`Hash`](Transform::Hash) | text, truth values, whole numbers | a 0 or 1 for each hash bucket |
//! | [`DateParts`](Transform::DateParts) | times | hour, weekday, day, month, as numbers |

mod categories;
mod date;
mod encoder;
mod feed;
mod fitted;
mod numeric;
mod spec;
mod stored;

pub use encoder::Encoder;
pub use feed::{Encoded, Feed};
pub use spec::{DatePart, EncoderSpec, Missing, Scaling, Transform};
