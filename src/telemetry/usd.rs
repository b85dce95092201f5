//! Counters of money, exact from the addition to the text.
//!
//! The metrics library knows counters of `u64` and `f64` only; money is neither. These counters add integer nano-dollars and write a
//! decimal with nine places, in the text format (0.0.4) that the library writes for the others.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aipipe_actors::money::NanoUsd;

use super::names::Name;

/// Labels of a series: name and value.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A sum of money that never falls: it shows the highest that the sum of its additions has reached.
///
/// A single request can save less than nothing (the baseline would have been cheaper). A counter that fell would be read as a restart
/// and invent an increase; one that left out the losses would overstate every saving. The highest sum does neither.
#[derive(Debug, Default)]
pub(super) struct UsdCounter {
    sum: AtomicI64,
    highest: AtomicI64,
}

impl UsdCounter {
    /// Adds an amount, saturating as [`NanoUsd`] does.
    pub(super) fn add(&self, amount: NanoUsd) {
        if amount == NanoUsd::ZERO {
            return;
        }
        let add = |sum: i64| sum.saturating_add(amount.0);
        let before = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(add(sum)));
        self.highest.fetch_max(add(before.unwrap_or_else(|sum| sum)), Ordering::Relaxed);
    }

    fn shown(&self) -> NanoUsd {
        NanoUsd(self.highest.load(Ordering::Relaxed))
    }
}

/// The counters of one metric by their labels.
#[derive(Debug, Default)]
pub(super) struct UsdFamily(RwLock<BTreeMap<Labels, Arc<UsdCounter>>>);

impl UsdFamily {
    /// The counter with these labels, made at zero where there is none.
    pub(super) fn counter(&self, labels: Labels) -> Arc<UsdCounter> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(labels).or_default().clone()
    }

    /// Appends the metric to an exposition; nothing where it has no counter.
    pub(super) fn write(&self, out: &mut String, name: &Name) -> std::fmt::Result {
        let counters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if counters.is_empty() {
            return Ok(());
        }
        let Name { exposed, help } = name;
        write!(out, "# HELP {exposed} {help}.\n# TYPE {exposed} counter\n")?;
        for (labels, counter) in counters.iter() {
            out.push_str(exposed);
            write_labels(out, labels)?;
            writeln!(out, " {}", counter.shown())?;
        }
        Ok(())
    }
}

fn write_labels(out: &mut String, labels: &Labels) -> std::fmt::Result {
    for (position, (name, value)) in labels.iter().enumerate() {
        write!(out, "{}{name}=\"", if position == 0 { '{' } else { ',' })?;
        for character in value.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_made_good_before_the_counter_rises_again() {
        let counter = UsdCounter::default();
        let shown = [-3, 5, -4, 1, 9].map(|amount| {
            counter.add(NanoUsd(amount));
            counter.shown().0
        });
        assert_eq!(shown, [0, 2, 2, 2, 8]);
    }

    #[test]
    fn an_absurd_amount_stays_absurd() {
        let counter = UsdCounter::default();
        counter.add(NanoUsd::MAX);
        counter.add(NanoUsd(1));
        assert_eq!(counter.shown(), NanoUsd::MAX);
    }
}
