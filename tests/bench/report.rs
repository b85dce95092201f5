//! The figures as a table or as JSON.

use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use super::machine::Machine;

/// One figure, and how it was taken.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// What it is.
    pub(crate) name: String,
    /// How much.
    pub(crate) value: f64,
    /// The lowest and highest of the rounds whose median `value` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<(f64, f64)>,
    /// Of what.
    pub(crate) unit: &'static str,
    /// How it was taken.
    pub(crate) how: String,
}

impl Figure {
    /// A figure that was taken once.
    pub(crate) fn once(name: impl Into<String>, value: f64, unit: &'static str, how: impl Into<String>) -> Self {
        Self { name: name.into(), value, range: None, unit, how: how.into() }
    }

    /// The median of some rounds, with their range; 0 where there were none.
    pub(crate) fn median(name: impl Into<String>, mut rounds: Vec<f64>, unit: &'static str, how: String) -> Self {
        rounds.sort_by(f64::total_cmp);
        let range = rounds.first().copied().zip(rounds.last().copied());
        Self { name: name.into(), value: median(rounds), range, unit, how }
    }

    fn shown(&self) -> String {
        match self.range {
            Some((low, high)) => format!("{} ({}–{})", rounded(self.value), rounded(low), rounded(high)),
            None => rounded(self.value),
        }
    }
}

/// The value in the middle; 0 where there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// About three significant digits.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// The program as it names itself.
    pub(crate) version: String,
    /// Who ran where.
    pub(crate) split: String,
    pub(crate) figures: Vec<Figure>,
    /// Requests that were not answered as they should have been, by phase.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// The table in Markdown, with the machine above it and the failures below.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["figure", "value", "unit", "how it was taken"]);
        for figure in &self.figures {
            table.add_row([&figure.name, &figure.shown(), figure.unit, &figure.how]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        let Machine { processor, cpus, kernel, used_by_others } = &self.machine;
        let others = used_by_others * 100.0;
        let busy = if self.machine.is_busy() {
            " (BUSY: others were working; take figures to publish on a quiet machine)"
        } else {
            ""
        };
        let mut text = format!(
            "{}\n{processor}, {cpus} CPUs, Linux {kernel}, CPU time used by others before: {others:.0} %{busy}\n{}\n{table}\n",
            self.version, self.split
        );
        for failure in &self.failures {
            text += &format!("FAILED: {failure}\n");
        }
        text
    }
}
