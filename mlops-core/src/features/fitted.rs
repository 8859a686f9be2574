//! One column's transform with the numbers that fitting found.

use serde::{Deserialize, Serialize};

use super::categories::{Categories, hash};
use super::date::{encode_date, utc};
use super::numeric::finite;
use super::spec::Kind;
use super::{DatePart, Transform};
use crate::data::{Column, ColumnKind, Value};
use crate::{Error, Result};

/// A row of more numbers than this is no row of a model any more.
const BUCKETS_MAX: u32 = 1 << 20;
/// Up to here every whole number is a float.
const EXACT: f64 = (1_u64 << 53) as f64;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fitted {
    /// `(x - shift) * scale`; `fill` is written as it is. A missing `fill` is NaN, which JSON cannot say.
    Numeric {
        shift: f64,
        scale: f64,
        fill: Option<f64>,
    },
    Bucketise {
        edges: Vec<f64>,
        fill: Option<f64>,
    },
    OneHot {
        categories: Categories,
    },
    Vocabulary {
        categories: Categories,
    },
    Hash {
        buckets: u32,
    },
    DateParts {
        parts: Vec<DatePart>,
    },
}

impl Fitted {
    pub(super) fn fit<'a>(
        column: &Column,
        transform: &Transform,
        kind: Kind,
        cells: impl Iterator<Item = Value<'a>> + Clone,
    ) -> Result<Self> {
        let name = &column.name;
        check(name, transform, column.kind, kind)?;
        let fitted = match transform {
            Transform::Numeric { scaling, missing } => {
                let numbers = finite(cells);
                let (shift, scale) = scaling.fit(name, &numbers)?;
                let fill = missing.fit(name, &numbers)?.map(|fill| (fill - shift) * scale);
                Self::Numeric { shift, scale, fill }
            }
            Transform::Bucketise { edges, missing } => {
                Self::Bucketise { edges: edges.clone(), fill: missing.fit(name, &finite(cells))? }
            }
            Transform::OneHot { categories_max } => {
                Self::OneHot { categories: Categories::fit(cells, *categories_max).in_text_order() }
            }
            Transform::Vocabulary { categories_max } => {
                Self::Vocabulary { categories: Categories::fit(cells, *categories_max) }
            }
            Transform::Hash { buckets } => Self::Hash { buckets: *buckets },
            Transform::DateParts { parts } => Self::DateParts { parts: parts.clone() },
        };
        match fitted.not_indices(column.kind).filter(|_| kind == Kind::Indices) {
            Some(why) => Err(Error::invalid(format!("column `{name}` gives no indices: {why}"))),
            None => Ok(fitted),
        }
    }

    /// Whether a stored transform can encode without a panic: what [`fit`](Self::fit) gives always can.
    pub(super) fn check(&self, column: &Column, kind: Kind) -> Result<()> {
        let numbers = |numbers: &[Option<f64>]| numbers.iter().flatten().all(|number| number.is_finite());
        let good = match self {
            Self::Numeric { shift, scale, fill } => numbers(&[Some(*shift), Some(*scale), *fill]),
            Self::Bucketise { edges, fill } => {
                numbers(&[*fill])
                    && edges.iter().all(|edge| edge.is_finite())
                    && edges.windows(2).all(|pair| pair[0] < pair[1])
            }
            Self::OneHot { categories } | Self::Vocabulary { categories } => categories.is_consistent(),
            Self::Hash { buckets } => (1..=buckets_max(kind)).contains(buckets),
            Self::DateParts { parts } => !parts.is_empty(),
        };
        if good && (kind == Kind::Floats || self.not_indices(column.kind).is_none()) {
            return Ok(());
        }
        Err(Error::data(format!(
            "the encoder's transform of column `{}` is damaged: fit it again",
            column.name
        )))
    }

    /// Why it cannot write whole numbers, if so.
    fn not_indices(&self, column: ColumnKind) -> Option<String> {
        let is_index = |fill: Option<f64>, max: f64| {
            fill.is_none_or(|fill| fill.fract() == 0.0 && (-max..=max).contains(&fill))
        };
        match self {
            Self::Numeric { .. } if !matches!(column, ColumnKind::Integer | ColumnKind::Boolean) => {
                Some(format!("it is {column}, want whole numbers or truth values"))
            }
            Self::Numeric { shift, scale, .. } if *shift != 0.0 || *scale != 1.0 => {
                Some("it is scaled: want `Scaling::None`".into())
            }
            Self::Numeric { fill, .. } if !is_index(*fill, EXACT) => {
                Some("what stands for a missing cell is no whole number: want `Missing::Value`".into())
            }
            Self::Bucketise { edges, fill }
                if !is_index(*fill, edges.len() as f64) || fill.is_some_and(|fill| fill < 0.0) =>
            {
                let last = edges.len();
                Some(format!("what stands for a missing cell is none of its buckets, 0 to {last}"))
            }
            Self::OneHot { .. } => Some("it is one-hot, take `Transform::Vocabulary`".into()),
            Self::DateParts { parts } if parts.contains(&DatePart::Year) => {
                Some("years have no end, take another part of the date".into())
            }
            _ => None,
        }
    }

    pub(super) fn output_names(&self, column: &str, kind: Kind) -> Vec<String> {
        match self {
            Self::OneHot { categories } => {
                categories.texts().map(|text| format!("{column}={text}")).collect()
            }
            Self::Hash { buckets } if kind == Kind::Floats => {
                (0..*buckets).map(|bucket| format!("{column}#{bucket}")).collect()
            }
            Self::DateParts { parts } => {
                parts.iter().map(|part| format!("{column}.{}", part.name())).collect()
            }
            Self::Numeric { .. } | Self::Bucketise { .. } | Self::Vocabulary { .. } | Self::Hash { .. } => {
                vec![column.to_owned()]
            }
        }
    }

    pub(super) fn width(&self, kind: Kind) -> usize {
        match self {
            Self::OneHot { categories } => categories.len(),
            Self::Hash { buckets } if kind == Kind::Floats => *buckets as usize,
            Self::DateParts { parts } => parts.len(),
            Self::Numeric { .. } | Self::Bucketise { .. } | Self::Vocabulary { .. } | Self::Hash { .. } => 1,
        }
    }

    /// How many indices each of its outputs has; `None` if it takes any whole number.
    pub(super) fn index_counts(&self) -> Vec<Option<u64>> {
        vec![match self {
            Self::Bucketise { edges, fill } => Some(edges.len() as u64 + 1 + u64::from(fill.is_none())),
            Self::Vocabulary { categories } => Some(categories.len() as u64 + 2),
            Self::Hash { buckets } => Some(u64::from(*buckets) + 1),
            Self::DateParts { parts } => {
                return parts.iter().map(|part| Some(part.missing().cast_unsigned() + 1)).collect();
            }
            Self::Numeric { .. } | Self::OneHot { .. } => None,
        }]
    }

    /// The index that the cell has; of a date, the part in this place. `None` for a cell without one. What
    /// [`check`](Self::check) lets through as indices gives them here.
    #[inline]
    pub(super) fn index(&self, cell: Value<'_>, part: usize) -> Option<i64> {
        match self {
            Self::Numeric { fill, .. } => match cell {
                Value::Integer(number) => Some(number),
                Value::Boolean(truth) => Some(truth.into()),
                _ => fill.map(|fill| fill as i64),
            },
            Self::Bucketise { edges, fill } => {
                Some(match (cell.as_f64().filter(|number| !number.is_nan()), fill) {
                    (Some(number), _) => edges.partition_point(|edge| *edge <= number) as i64,
                    (None, Some(fill)) => *fill as i64,
                    (None, None) => edges.len() as i64 + 1,
                })
            }
            Self::Vocabulary { categories } => Some(match categories.place(cell) {
                Some(place) => place as i64,
                None => categories.len() as i64 + i64::from(cell.is_missing()),
            }),
            Self::Hash { buckets } if cell.is_missing() => Some(i64::from(*buckets)),
            Self::Hash { buckets } => Some((hash(cell) % u64::from(*buckets)).cast_signed()),
            Self::DateParts { parts } => {
                let part = parts.get(part)?;
                Some(utc(cell).map_or(part.missing(), |time| part.of(time).into()))
            }
            Self::OneHot { .. } => None,
        }
    }

    /// Writes the encoded cell to `out`, which has this transform's width.
    #[inline]
    pub(super) fn encode(&self, cell: Value<'_>, out: &mut [f32]) {
        match self {
            Self::Numeric { shift, scale, fill } => {
                out[0] = match cell.as_f64().filter(|number| number.is_finite()) {
                    Some(number) => ((number - shift) * scale) as f32,
                    None => fill.map_or(f32::NAN, |fill| fill as f32),
                };
            }
            Self::Bucketise { edges, fill } => {
                out[0] = match cell.as_f64().filter(|number| !number.is_nan()) {
                    Some(number) => edges.partition_point(|edge| *edge <= number) as f32,
                    None => fill.map_or(f32::NAN, |fill| fill as f32),
                };
            }
            Self::OneHot { categories } => {
                out.fill(0.0);
                if let Some(place) = categories.place(cell) {
                    out[place] = 1.0;
                }
            }
            Self::Vocabulary { categories } => {
                out[0] = match categories.place(cell) {
                    Some(place) => place as f32,
                    None if cell.is_missing() => -1.0,
                    None => categories.len() as f32,
                };
            }
            Self::Hash { buckets } => {
                out.fill(0.0);
                if !cell.is_missing() {
                    out[(hash(cell) % u64::from(*buckets)) as usize] = 1.0;
                }
            }
            Self::DateParts { parts } => encode_date(parts, cell, out),
        }
    }
}

fn buckets_max(kind: Kind) -> u32 {
    match kind {
        Kind::Floats => BUCKETS_MAX,
        Kind::Indices => u32::MAX,
    }
}

fn check(name: &str, transform: &Transform, column: ColumnKind, kind: Kind) -> Result<()> {
    let numeric = column != ColumnKind::Text;
    let discrete = !matches!(column, ColumnKind::Float | ColumnKind::Timestamp);
    let (fits, wants) = match transform {
        Transform::Numeric { .. } | Transform::Bucketise { .. } => (numeric, "numbers, not text"),
        Transform::OneHot { .. } | Transform::Vocabulary { .. } | Transform::Hash { .. } => {
            (discrete, "text, truth values or whole numbers")
        }
        Transform::DateParts { .. } => (column == ColumnKind::Timestamp, "times"),
    };
    if !fits {
        return Err(Error::invalid(format!("column `{name}` is {column}, its transform wants {wants}")));
    }
    match transform {
        Transform::Bucketise { edges, .. }
            if edges.is_empty()
                || edges.iter().any(|edge| !edge.is_finite())
                || edges.windows(2).any(|pair| pair[0] >= pair[1]) =>
        {
            Err(Error::invalid(format!("column `{name}` has edges {edges:?}: want finite, rising ones")))
        }
        Transform::OneHot { categories_max: 0 }
        | Transform::Vocabulary { categories_max: 0 }
        | Transform::Hash { buckets: 0 } => {
            Err(Error::invalid(format!("column `{name}` would get 0 categories: want at least 1")))
        }
        Transform::Hash { buckets } if *buckets > buckets_max(kind) => Err(Error::invalid(format!(
            "column `{name}` would get {buckets} hash buckets: at most {BUCKETS_MAX} are possible"
        ))),
        Transform::DateParts { parts } if parts.is_empty() => {
            Err(Error::invalid(format!("column `{name}` would get 0 parts of the date: want at least 1")))
        }
        _ => Ok(()),
    }
}
