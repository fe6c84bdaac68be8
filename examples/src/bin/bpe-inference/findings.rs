//! What an experiment found: a table to read, rows to parse, a curve to look at.

use anyhow::Result;
use fire_assay_examples::CommonArgs;
use fire_assay_examples::plot::{Axis, LineChart, LineSeries, LineStyle, Scale, Value};
use fire_assay_examples::report::Report;
use fire_assay_examples::table::{Cell, Table, text};
use serde_json::{Map, Value as Json, json};

/// A table with the same rows as JSON, and remarks.
pub(crate) struct Findings {
    title: String,
    table: Table,
    rows: Vec<Json>,
    pub(crate) notes: Vec<String>,
    pub(crate) curve: Option<Curve>,
    extra: Map<String, Json>,
}

impl Findings {
    pub(crate) fn new(title: &str, header: &[&str]) -> Self {
        Self {
            title: title.into(),
            table: Table::new(header.iter().copied()),
            rows: Vec::new(),
            notes: Vec::new(),
            curve: None,
            extra: Map::new(),
        }
    }

    /// Adds a row, for people and for programs.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N], row: Json) {
        let cells: [Cell; N] = cells.map(text);
        self.table.row(cells);
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds a member to the JSON object.
    pub(crate) fn extra(&mut self, name: &str, value: Json) {
        self.extra.insert(name.into(), value);
    }

    /// Prints everything, writes the plot into the `--out` folder, and returns the JSON object.
    pub(crate) fn publish(
        self,
        name: &str,
        seconds: f64,
        common: &CommonArgs,
        report: &Report,
    ) -> Result<Json> {
        report.say(&self.title);
        report.table(&self.table);
        for note in &self.notes {
            report.say(format!("- {note}"));
        }
        if let (Some(curve), Some(path)) = (&self.curve, common.out_file(&format!("{name}.svg"))?) {
            curve.chart(&self.title).write(&path)?;
            report.say(format!("wrote {}", path.display()));
        }
        let mut object = self.extra;
        object.insert("experiment".into(), json!(name));
        object.insert("title".into(), json!(self.title));
        object.insert("results".into(), json!(self.rows));
        object.insert("notes".into(), json!(self.notes));
        object.insert("seconds".into(), json!(seconds));
        Ok(Json::Object(object))
    }
}

/// Lines over a logarithmic axis.
pub(crate) struct Curve {
    x: String,
    y: String,
    series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Curve {
    pub(crate) fn new(x: &str, y: &str) -> Self {
        Self {
            x: x.into(),
            y: y.into(),
            series: Vec::new(),
        }
    }

    pub(crate) fn series(&mut self, name: &str, points: Vec<(f64, f64)>) {
        self.series.push((name.into(), points));
    }

    fn chart(&self, title: &str) -> LineChart {
        let line = |(name, points): &(String, Vec<(f64, f64)>)| LineSeries {
            name: name.clone(),
            style: LineStyle::Line,
            points: points.iter().map(|&(x, y)| (x, Value::from(y))).collect(),
        };
        LineChart {
            title: title.into(),
            x: Axis::new(self.x.clone(), Scale::Logarithmic),
            y: Axis::new(self.y.clone(), Scale::Linear),
            series: self.series.iter().map(line).collect(),
        }
    }
}

/// `-7.31 ± 0.42`.
pub(crate) fn plus_minus(mean: f64, spread: f64) -> String {
    format!("{mean:.2} ± {spread:.2}")
}

/// Two decimals.
pub(crate) fn number(value: f64) -> String {
    format!("{value:.2}")
}
