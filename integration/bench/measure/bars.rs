//! What vzrun has to reach, and whether it does.

use std::fmt::Write as _;

use crate::table::Row;

/// A figure of vzrun's and its limit.
struct Bar {
    what: String,
    value: Option<f64>,
    limit: f64,
}

/// The bars as a markdown table.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| bar | is | at most | |\n| --- | ---: | ---: | --- |\n");
    for bar in bars(rows) {
        let (value, verdict) = match bar.value {
            None => ("not measured".to_owned(), "**open**"),
            Some(value) if value <= bar.limit => (format!("{value:.2}"), "holds"),
            Some(value) => (format!("{value:.2}"), "**does not hold**"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {value} | {:.2} | {verdict} |",
            bar.what, bar.limit
        );
    }
    text
}

fn bars(rows: &[Row]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for row in rows {
        let mut ratio = |other: &str, limit| {
            let what = format!("`{}`: time / {other}'s", row.case);
            bars.push(Bar {
                what,
                value: row.ratio("vzrun", other),
                limit,
            });
        };
        match row.case.as_str() {
            "run" => {
                ratio("crun", 0.60);
                ratio("floor", 1.5);
            }
            "run with seccomp" => {
                ratio("crun", 0.50);
                ratio("floor", 1.5);
            }
            "exec" | "state" => ratio("crun", 0.60),
            "100 started" => ratio("crun", 1.0),
            case if case.starts_with("list of ") => {
                let value = row.column("vzrun").and_then(|column| column.median());
                bars.push(Bar {
                    what: format!("`{}`: ms", row.case),
                    value,
                    limit: 50.0,
                });
            }
            _ => {}
        }
        let rss = |name| row.column(name).and_then(|column| column.rss());
        if let (Some(own), Some(crun)) = (rss("vzrun"), rss("crun")) {
            let what = format!("`{}`: peak RSS / crun's", row.case);
            bars.push(Bar {
                what,
                value: Some(own / crun),
                limit: 1.0,
            });
        }
    }
    bars
}
