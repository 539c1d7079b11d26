//! Samples to a markdown table.

use std::fmt::Write as _;

use crate::process::Sample;

/// What one program did in one case: its samples, or why there are none.
pub(crate) struct Column {
    /// The program.
    pub(crate) name: String,
    /// Its samples.
    pub(crate) samples: Result<Vec<Sample>, String>,
}

impl Column {
    fn samples(&self) -> &[Sample] {
        self.samples.as_deref().unwrap_or_default()
    }

    /// Median of the wall times, in milliseconds.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut walls: Vec<u64> = self.samples().iter().map(|sample| sample.wall).collect();
        walls.sort_unstable();
        walls.get(walls.len() / 2).map(|wall| *wall as f64 / 1e6)
    }

    fn minimum(&self) -> Option<f64> {
        self.samples()
            .iter()
            .map(|sample| sample.wall)
            .min()
            .map(|wall| wall as f64 / 1e6)
    }

    /// Largest peak RSS, in MiB.
    pub(crate) fn rss(&self) -> Option<f64> {
        self.samples()
            .iter()
            .map(|sample| sample.rss)
            .max()
            .map(|rss| rss as f64 / 1024.0)
    }
}

/// One case with a column for each program.
pub(crate) struct Row {
    /// What was done.
    pub(crate) case: String,
    /// Who did it.
    pub(crate) columns: Vec<Column>,
}

impl Row {
    /// The column of a program that has samples.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns
            .iter()
            .find(|column| column.name == name && column.median().is_some())
    }

    /// The ratio of two medians.
    pub(crate) fn ratio(&self, name: &str, other: &str) -> Option<f64> {
        Some(self.column(name)?.median()? / self.column(other)?.median()?)
    }
}

/// All rows, one line for each case and program.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| case | program | median ms | min ms | x floor | x crun | peak RSS MiB | samples |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in rows {
        for column in &row.columns {
            let cells = match &column.samples {
                Err(_) => "failed | | | | | 0".to_owned(),
                Ok(samples) => format!(
                    "{} | {} | {} | {} | {} | {}",
                    cell(column.median(), 2),
                    cell(column.minimum(), 2),
                    cell(row.ratio(&column.name, "floor"), 2),
                    cell(row.ratio(&column.name, "crun"), 2),
                    cell(column.rss(), 1),
                    samples.len()
                ),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {} | {} | {cells} |", row.case, column.name);
        }
    }
    text
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}
