//! The web shop of the examples: its sessions, simulated or from the UCI log.
//!
//! Both sources have the columns of the Online Shoppers Purchasing Intention data set (Sakar, Polat,
//! Katircioglu and Kastro, 2018), so that one program runs on either.

mod log;
mod simulator;

pub use log::SessionLog;
pub use simulator::Simulator;

use mlops_core::data::{Column, ColumnKind, Dataset, Role, TableSchema};
use mlops_core::{Digest, Error, Result};

/// The label: whether the session ended in a purchase.
pub const LABEL: &str = "Revenue";

/// The facet for bias metrics.
pub const VISITOR: &str = "VisitorType";

/// The columns of a session.
///
/// # Errors
/// None: the columns are fixed and valid.
pub fn schema() -> Result<TableSchema> {
    let count = |name: &str| Column::new(name, ColumnKind::Float).range(0.0, f64::MAX);
    let rate = |name: &str| Column::new(name, ColumnKind::Float).range(0.0, 1.0);
    let code = |name: &str| Column::new(name, ColumnKind::Integer).range(1.0, 1000.0);
    TableSchema::new([
        count("Administrative"),
        count("Administrative_Duration"),
        count("Informational"),
        count("Informational_Duration"),
        count("ProductRelated"),
        count("ProductRelated_Duration"),
        rate("BounceRates"),
        rate("ExitRates"),
        count("PageValues"),
        rate("SpecialDay"),
        Column::new("Month", ColumnKind::Text).role(Role::Other).required(),
        code("OperatingSystems"),
        code("Browser"),
        code("Region"),
        code("TrafficType"),
        Column::new(VISITOR, ColumnKind::Text).required(),
        Column::new("Weekend", ColumnKind::Boolean),
        Column::new(LABEL, ColumnKind::Boolean).role(Role::Label).required(),
    ])
}

/// The months of a year, as the log writes them.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The traffic of one month.
#[derive(Clone, Debug)]
pub struct Month {
    /// 1 to 12.
    pub number: usize,
    /// Its name.
    pub name: &'static str,
    /// Its sessions with their labels, in order of arrival.
    pub sessions: Dataset,
}

/// Where months of traffic come from.
pub trait Traffic: std::fmt::Debug + Send + Sync {
    /// What the source is, for people.
    fn describe(&self) -> String;

    /// What the sessions are: the same digest, the same sessions.
    fn fingerprint(&self) -> Digest;

    /// The months of a year that have traffic, in order; at least three.
    fn months(&self) -> Vec<usize>;

    /// The sessions of one of those months in a year counted from 1.
    ///
    /// # Errors
    /// `NotFound` if there is no such month; `Data` if the source is damaged.
    fn month(&self, year: usize, number: usize) -> Result<Month>;
}

/// The name of a month, from 1.
fn month_name(number: usize) -> Result<&'static str> {
    let name = number.checked_sub(1).and_then(|place| MONTHS.get(place)).copied();
    name.ok_or_else(|| Error::not_found(format!("there is no month {number}: want 1 to 12")))
}
