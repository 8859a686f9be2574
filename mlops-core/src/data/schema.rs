//! What the columns of a table are, what part each plays, and which values are allowed.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use super::Value;
use crate::{Error, Result};

/// What kind of values a column holds. Each kind has one Arrow type, so that one kind of code reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnKind {
    /// Real numbers: Arrow `Float64`.
    Float,
    /// Whole numbers: Arrow `Int64`.
    Integer,
    /// Truth values: Arrow `Boolean`.
    Boolean,
    /// Text, often a category: Arrow `Utf8`.
    Text,
    /// Points in time: Arrow `Timestamp(Microsecond, "+00:00")`.
    Timestamp,
}

impl ColumnKind {
    /// The Arrow type of this kind.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Float => DataType::Float64,
            Self::Integer => DataType::Int64,
            Self::Boolean => DataType::Boolean,
            Self::Text => DataType::Utf8,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        }
    }

    /// Whether a column of this kind can hold the cell. A missing cell fits every kind, a whole number fits
    /// real numbers, and is the microseconds of a timestamp.
    pub fn takes(self, cell: Value<'_>) -> bool {
        match cell {
            Value::Missing => true,
            Value::Float(_) => self == Self::Float,
            Value::Integer(_) => matches!(self, Self::Float | Self::Integer | Self::Timestamp),
            Value::Boolean(_) => self == Self::Boolean,
            Value::Text(_) => self == Self::Text,
        }
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What part a column plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// An input of the model.
    #[default]
    Feature,
    /// What the model predicts.
    Label,
    /// Names the row, so that a late label finds it.
    Id,
    /// When the row happened.
    Time,
    /// Rows with equal values belong together: a user, a query, a facet.
    Group,
    /// How much the row counts.
    Weight,
    /// Carried along, read by nobody.
    Other,
}

/// One column: name, kind, role and the values that it may hold.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, Role};
///
/// let bounce = Column::new("bounce_rate", ColumnKind::Float).range(0.0, 1.0);
/// let bought = Column::new("bought", ColumnKind::Boolean).role(Role::Label).required();
/// assert!(bounce.nullable && !bought.nullable);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Column {
    /// Its name, unique in the table.
    pub name: String,
    /// What kind of values it holds.
    pub kind: ColumnKind,
    /// What part it plays.
    #[serde(default)]
    pub role: Role,
    /// Whether cells may be missing.
    pub nullable: bool,
    /// The smallest and largest number allowed, both included; of a time, its microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "range")]
    pub range: Option<(f64, f64)>,
    /// The only texts allowed, if they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
}

impl Column {
    /// A nullable feature with no limits on its values.
    pub fn new(name: impl Into<String>, kind: ColumnKind) -> Self {
        Self { name: name.into(), kind, role: Role::Feature, nullable: true, range: None, categories: None }
    }

    /// Sets the role.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Forbids missing cells.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// Allows only numbers from `low` to `high`, both included.
    #[must_use]
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }

    /// Allows only these texts.
    #[must_use]
    pub fn categories(mut self, allowed: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.categories = Some(allowed.into_iter().map(Into::into).collect());
        self
    }
}

/// The columns of a table, in order, with unique names.
///
/// ```
/// use mlops_core::data::{Column, ColumnKind, Role, TableSchema};
///
/// let schema = TableSchema::new([
///     Column::new("page_value", ColumnKind::Float).range(0.0, f64::INFINITY),
///     Column::new("visitor", ColumnKind::Text),
///     Column::new("bought", ColumnKind::Boolean).role(Role::Label).required(),
/// ])?;
/// assert_eq!(schema.features().count(), 2);
/// assert_eq!(schema.the(Role::Label)?.name, "bought");
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Column>", into = "Vec<Column>")]
pub struct TableSchema {
    columns: Vec<Column>,
}

impl TableSchema {
    /// The schema with these columns.
    ///
    /// # Errors
    /// `Invalid` if there is no column, two share a name, a range is empty, NaN or of text, or categories are not of
    /// text.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Result<Self> {
        let columns: Vec<Column> = columns.into_iter().collect();
        if columns.is_empty() {
            return Err(Error::invalid("a schema needs at least one column"));
        }
        for (index, column) in columns.iter().enumerate() {
            let name = &column.name;
            if columns[..index].iter().any(|earlier| earlier.name == *name) {
                return Err(Error::invalid(format!("column `{name}` is declared twice: names are unique")));
            }
            if let Some((low, high)) = column.range
                && (low > high || low.is_nan() || high.is_nan())
            {
                return Err(Error::invalid(format!("column `{name}` has the empty range {low}..={high}")));
            }
            if column.range.is_some() && column.kind == ColumnKind::Text {
                return Err(Error::invalid(format!(
                    "column `{name}` holds text, which has no range of numbers"
                )));
            }
            if column.categories.is_some() && column.kind != ColumnKind::Text {
                let kind = column.kind;
                return Err(Error::invalid(format!(
                    "column `{name}` is {kind}: texts alone have categories"
                )));
            }
        }
        Ok(Self { columns })
    }

    /// All columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of this name.
    ///
    /// # Errors
    /// `NotFound`, with the names there are.
    pub fn column(&self, name: &str) -> Result<&Column> {
        Ok(&self.columns[self.index_of(name)?])
    }

    /// The place of the column of this name.
    ///
    /// # Errors
    /// `NotFound`, with the names there are.
    pub fn index_of(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            Error::not_found(format!("no column `{name}`: the columns are {}", names.join(", ")))
        })
    }

    /// The columns that are inputs of the model, in order.
    pub fn features(&self) -> impl Iterator<Item = &Column> {
        self.with_role(Role::Feature)
    }

    /// The columns of this role, in order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |column| column.role == role)
    }

    /// The only column of this role.
    ///
    /// # Errors
    /// `Invalid` if there is none or more than one.
    pub fn the(&self, role: Role) -> Result<&Column> {
        let mut found = self.with_role(role);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column),
            (None, _) => Err(Error::invalid(format!("no column has the role {role:?}: one is needed"))),
            (Some(first), Some(second)) => Err(Error::invalid(format!(
                "columns `{}` and `{}` both have the role {role:?}: one alone may",
                first.name, second.name
            ))),
        }
    }

    /// The same table as Arrow sees it.
    pub fn to_arrow(&self) -> arrow_schema::SchemaRef {
        let field = |column: &Column| {
            arrow_schema::Field::new(&column.name, column.kind.data_type(), column.nullable)
        };
        Arc::new(arrow_schema::Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }
}

/// JSON has no infinity: an open end of a range is written as `null`.
mod range {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(range: &Option<(f64, f64)>, out: S) -> Result<S::Ok, S::Error> {
        let end = |end: f64| end.is_finite().then_some(end);
        range.map(|(low, high)| (end(low), end(high))).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<(f64, f64)>, D::Error> {
        let range: Option<(Option<f64>, Option<f64>)> = Deserialize::deserialize(from)?;
        Ok(range.map(|(low, high)| (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY))))
    }
}

impl TryFrom<Vec<Column>> for TableSchema {
    type Error = Error;

    fn try_from(columns: Vec<Column>) -> Result<Self> {
        Self::new(columns)
    }
}

impl From<TableSchema> for Vec<Column> {
    fn from(schema: TableSchema) -> Self {
        schema.columns
    }
}
