//! The final table: what it cost, beside the one frontier model, from the ledger's own figures.

use std::collections::BTreeMap;

use aipipe_actors::money::NanoUsd;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

/// The figures of one model.
#[derive(Debug, Default, Clone, Copy)]
struct Item {
    calls: u64,
    input: u64,
    output: u64,
    cost: NanoUsd,
    saved: NanoUsd,
}

/// What all tenants spent, by model.
#[derive(Debug, Default)]
pub(super) struct Bill {
    models: BTreeMap<String, Item>,
    total: Item,
    /// What clients asked; one that failed over is several calls, one from the cache none.
    requests: u64,
}

impl Bill {
    /// Adds a tenant's statistics, as the admin API shows them.
    pub(super) fn add(&mut self, stats: &Value) {
        self.requests += stats["requests"].as_u64().unwrap_or(0);
        add(&mut self.total, stats);
        for (model, figures) in stats["models"].as_object().into_iter().flatten() {
            add(self.models.entry(model.clone()).or_default(), figures);
        }
        self.total.calls = self.models.values().map(|item| item.calls).sum();
    }

    /// The table, the dearest model first, with the total at its end.
    pub(super) fn table(&self, baseline: &str) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["model", "calls", "tokens in", "tokens out", "cost $", &format!("at {baseline} $")]);
        let mut models: Vec<_> = self.models.iter().collect();
        models.sort_by_key(|(_, item)| std::cmp::Reverse(item.cost));
        for (model, item) in models {
            table.add_row(row(model, item));
        }
        table.add_row(row(&format!("all {} requests", self.requests), &self.total));
        for column in 1..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }

    /// The part of the baseline's cost that was saved, in per cent.
    pub(super) fn saved_percent(&self) -> f64 {
        let baseline = self.total.cost + self.total.saved;
        if baseline == NanoUsd::ZERO { 0.0 } else { self.total.saved.as_usd_f64() / baseline.as_usd_f64() * 100.0 }
    }
}

fn add(item: &mut Item, figures: &Value) {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    item.calls += count(&figures["requests"]);
    item.input += count(&figures["tokens"]["input"]);
    item.output += count(&figures["tokens"]["output"]);
    item.cost += usd(&figures["cost_usd"]);
    item.saved += usd(&figures["saved_usd"]);
}

/// A decimal of USD, which savings may have a sign on.
fn usd(value: &Value) -> NanoUsd {
    let text = value.as_str().unwrap_or("0");
    match text.strip_prefix('-') {
        Some(magnitude) => NanoUsd::ZERO.minus(NanoUsd::parse_usd(magnitude).unwrap_or_default()),
        None => NanoUsd::parse_usd(text).unwrap_or_default(),
    }
}

fn row(name: &str, item: &Item) -> [String; 6] {
    [
        name.to_owned(),
        item.calls.to_string(),
        item.input.to_string(),
        item.output.to_string(),
        item.cost.to_string(),
        (item.cost + item.saved).to_string(),
    ]
}
