//! Overrides in the text of a configuration file, which otherwise stays as its author wrote it.

use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::money::LongContext;
use anyhow::Context;
use jiff::Timestamp;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use super::price_file::Listing;
use super::{New, Override, plain};

/// The text with these models in it. `origin` is named as the source of what is new.
pub(super) fn write(text: &str, changes: &[Override<'_>], origin: &str) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let models = document.entry("models").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let models = models.as_array_of_tables_mut().context("models must be written as [[models]] to be changed")?;
    for change in changes {
        match change {
            Override::Prices { provider, id, prices } => {
                let table = of_model(models, provider, id)?;
                for price in prices {
                    let value = match &price.new {
                        New::Rate(rate) => plain(*rate).parse::<Value>()?,
                        New::LongContext(long) => long_context(long)?,
                    };
                    set(table, price.field, value);
                }
                sign(table, origin);
            }
            Override::Added { provider, id, listing } => add(of_model(models, provider, id)?, listing, origin)?,
        }
    }
    Ok(document.to_string())
}

/// The model's table, at the end where there was none.
fn of_model<'a>(models: &'a mut ArrayOfTables, provider: &ProviderId, id: &ModelId) -> anyhow::Result<&'a mut Table> {
    let is_it = |table: &Table| {
        let holds = |key: &str, text: &str| table.get(key).and_then(Item::as_str) == Some(text);
        holds("provider", provider.as_str()) && holds("id", id.as_str())
    };
    let place = models.iter().position(is_it);
    let at = match place {
        Some(at) => at,
        None => {
            let mut table = Table::new();
            table.insert("provider", Item::Value(provider.as_str().into()));
            table.insert("id", Item::Value(id.as_str().into()));
            models.push(table);
            models.len() - 1
        }
    };
    models.get_mut(at).context("the model's table is missing")
}

fn add(table: &mut Table, listing: &Listing, origin: &str) -> anyhow::Result<()> {
    let prices = [
        ("input", listing.input),
        ("cached_input", listing.cached_input),
        ("cache_write", listing.cache_write),
        ("output", listing.output),
    ];
    for (key, rate) in prices {
        if let Some(rate) = rate {
            set(table, key, plain(rate).parse()?);
        }
    }
    if let Some(long) = &listing.long_context {
        set(table, "long_context", long_context(long)?);
    }
    // Nobody vouches for what it can do.
    set(table, "auto", false.into());
    let context = listing.context_tokens.map(|tokens| tokens.max(listing.max_output_tokens.unwrap_or_default()));
    for (key, tokens) in [("context_tokens", context), ("max_output_tokens", listing.max_output_tokens)] {
        if let Some(tokens) = tokens.and_then(|tokens| i64::try_from(tokens).ok()) {
            set(table, key, tokens.into());
        }
    }
    set(table, "capabilities", Value::Array(listing.capabilities.iter().copied().collect()));
    sign(table, origin);
    Ok(())
}

/// Sets a key; what stands around an old value, a comment for one, stays.
fn set(table: &mut Table, key: &str, mut value: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            table.insert(key, Item::Value(value));
        }
    }
}

/// Says where the figures come from.
fn sign(table: &mut Table, origin: &str) {
    set(table, "source", origin.into());
    set(table, "source_date", Timestamp::now().strftime("%Y-%m-%d").to_string().into());
}

fn long_context(long: &LongContext) -> anyhow::Result<Value> {
    let mut table = InlineTable::new();
    let threshold = i64::try_from(long.threshold_tokens)?;
    table.insert("threshold_tokens", threshold.into());
    table.insert("input", plain(long.input).parse()?);
    table.insert("output", plain(long.output).parse()?);
    Ok(Value::InlineTable(table))
}
