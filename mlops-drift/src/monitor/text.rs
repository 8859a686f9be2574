//! A report for people.

use std::fmt;

use super::{ColumnReport, DriftReport, Measure};

impl fmt::Display for DriftReport {
    /// A line on the window, then one for each column, the worst first.
    ///
    /// ```
    /// # use arrow_array::{Float64Array, RecordBatch};
    /// # use mlops_core::data::{Column, ColumnKind, TableSchema};
    /// # use mlops_drift::monitor::{Baseline, BaselineOptions, CheckOptions};
    /// # use std::sync::Arc;
    /// # let schema = TableSchema::new([Column::new("price", ColumnKind::Float)])?;
    /// # let table = |shift: f64| {
    /// #     let values = Float64Array::from_iter_values((0..500).map(|i| f64::from(i % 97) + shift));
    /// #     RecordBatch::try_new(schema.to_arrow(), vec![Arc::new(values)])
    /// # };
    /// let baseline = Baseline::fit(&schema, &[table(0.0)?], BaselineOptions::default())?;
    /// let text = baseline.check(&[table(50.0)?], &CheckOptions::default())?.to_string();
    /// assert!(text.starts_with("500 rows, 1 of 1 columns drifted\nprice: critical drift, psi "), "{text}");
    /// # Ok::<(), mlops_drift::Error>(())
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (columns, drifted) = (self.columns.len(), self.drifted().count());
        write!(f, "{} rows, {drifted} of {columns} columns drifted", self.rows)?;
        let mut sorted: Vec<&ColumnReport> = self.columns.iter().collect();
        let size = |column: &ColumnReport| column.psi.map_or(0.0, |psi| psi.value);
        sorted.sort_by(|a, b| {
            let worst = |column: &ColumnReport| (column.drift.max(column.quality), column.problem.is_some());
            worst(b).cmp(&worst(a)).then(size(b).total_cmp(&size(a)))
        });
        sorted.iter().try_for_each(|column| write!(f, "\n{column}"))
    }
}

impl fmt::Display for ColumnReport {
    /// One line: the verdict, then the numbers behind it, each with what it is held against.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.column)?;
        match (self.drift, self.quality) {
            (Some(drift), Some(quality)) => write!(f, "{drift} drift, {quality} quality")?,
            (Some(drift), None) => write!(f, "{drift} drift")?,
            (None, Some(quality)) => write!(f, "{quality} quality")?,
            (None, None) if self.problem.is_some() => f.write_str("not compared")?,
            (None, None) => f.write_str("no change")?,
        }
        if let Some(decision) = &self.decision {
            write!(f, ", {} {:.4} (limit {:.4})", decision.by, decision.value, decision.limit)?;
        }
        // The size alone decides nothing where a test has to be sure too: what chance alone reaches is no limit.
        if let Some(psi) = self.psi {
            write!(f, ", psi {:.4} (by chance up to {:.4})", psi.value, psi.limit)?;
        }
        let mut measure = |name: &str, against: &str, measure: Option<Measure>| match measure {
            Some(Measure { value, limit, p_adjusted, .. }) => {
                write!(f, ", {name} {value:.4} ({against} {limit:.4}, p {})", p_value(p_adjusted))
            }
            None => Ok(()),
        };
        measure("ks", "by chance up to", self.kolmogorov_smirnov)?;
        measure("chi-squared", "by chance up to", self.chi_squared)?;
        measure("missing", "was", self.missing_rate.filter(|rate| rate.value != rate.limit))?;
        measure("non-finite", "was", self.non_finite_rate.filter(|rate| rate.value != rate.limit))?;
        if self.unseen > 0 {
            write!(f, ", {} unseen", self.unseen)?;
        }
        match &self.problem {
            Some(problem) => write!(f, ": {}", problem.message),
            None => Ok(()),
        }
    }
}

/// Three digits; what is below all floats is not 0.
pub(super) fn p_value(p: f64) -> String {
    match p {
        0.0 => "<1e-300".to_owned(),
        _ if p < 0.001 => format!("{p:.2e}"),
        _ => format!("{p:.3}"),
    }
}
