//! How the score does on prompts with outcomes, as tables, JSON and a plot.

use serde_json::{Value, json};

use super::curve::{Figure, Measured, RESAMPLES};
use super::plot::Plot;
use super::table;

/// The tables.
pub(super) fn page(measured: &Measured) -> String {
    let mut figures = table(["figure", "value", "95 % interval", "coin"], &[1, 2, 3]);
    let [half, most] = measured.cpt;
    for (name, figure, coin) in [
        ("APGR at matched spend", measured.apgr, 0.5),
        ("spend for half of the advantage", half, 0.5),
        ("spend for 80 % of it", most, 0.8),
    ] {
        figures.add_row([name.to_owned(), format!("{:.3}", figure.value), interval(figure), format!("{coin:.3}")]);
    }
    let mut operating = table(
        ["spend", "PGR", "95 % interval", "coin", "quality kept", "coin", "risk", "coin", "waste", "coin"],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
    for at in &measured.operating {
        let pairs = [at.kept, at.risk, at.waste].into_iter().flatten().map(|share| format!("{share:.3}"));
        let first = [
            format!("{:.2}", at.spend),
            format!("{:.3}", at.recovered.value),
            interval(at.recovered),
            format!("{:.3}", at.spend),
        ];
        operating.add_row(first.into_iter().chain(pairs));
    }
    let mut sources = table(["source", "prompts", "in need", "APGR"], &[1, 2, 3]);
    for (source, (prompts, need, apgr)) in &measured.sources {
        sources.add_row([source.clone(), prompts.to_string(), format!("{need:.3}"), format!("{apgr:.3}")]);
    }
    format!(
        "{} prompts with outcomes, sources weighted equally; {:.1} % need the strong tier; all weak {:.3}, all strong {:.3}\n\n\
         {figures}\n\n{operating}\n\n{sources}\n\n\
         PGR: share of the strong tier's advantage that is kept. Risk: in need, but sent to the weak tier; waste: sent to the strong tier\n\
         without need; both as shares of all prompts. Coin: the control at the same spend. Intervals: bootstrap, {RESAMPLES} resamples.\n",
        measured.prompts,
        100.0 * measured.need,
        measured.weak,
        measured.strong,
    )
}

fn interval(figure: Figure) -> String {
    format!("{:.3} to {:.3}", figure.low, figure.high)
}

/// The same as JSON.
pub(super) fn to_json(measured: &Measured) -> Value {
    let figure = |figure: Figure| json!({"value": figure.value, "low": figure.low, "high": figure.high});
    let both = |[router, coin]: [f64; 2]| json!({"router": router, "coin": coin});
    let operating: Vec<Value> = measured
        .operating
        .iter()
        .map(|at| {
            json!({
                "spend": at.spend, "pgr": figure(at.recovered), "pgr_coin": at.spend,
                "quality_kept": both(at.kept), "risk": both(at.risk), "waste": both(at.waste),
            })
        })
        .collect();
    let sources = measured.sources.iter().map(|(source, (prompts, need, apgr))| {
        (source.clone(), json!({"prompts": prompts, "need": need, "apgr": apgr}))
    });
    let [half, most] = measured.cpt;
    json!({
        "prompts": measured.prompts, "need": measured.need, "all_weak": measured.weak, "all_strong": measured.strong,
        "apgr_spend": figure(measured.apgr), "cpt50_spend": figure(half), "cpt80_spend": figure(most),
        "operating_points": operating,
        "curve": measured.curve.iter().map(|&at| figure(at)).collect::<Vec<_>>(),
        "sources": sources.collect::<serde_json::Map<_, _>>(),
    })
}

/// The curve over the spend, with its band and the coin.
pub(super) fn plot(measured: &Measured) -> Plot {
    let mut plot =
        Plot::new("What is kept of the strong tier's advantage", "share of its extra spend", "share of its advantage");
    let last = (measured.curve.len() - 1).max(1) as f64;
    let along = |of: &dyn Fn(&Figure) -> f64| -> Vec<(f64, f64)> {
        measured.curve.iter().enumerate().map(|(at, figure)| (at as f64 / last, of(figure))).collect()
    };
    plot.band(along(&|figure| figure.low), along(&|figure| figure.high));
    plot.line("router", "#1f6feb", along(&|figure| figure.value));
    plot.line("coin at the same spend", "#888888", vec![(0.0, 0.0), (1.0, 1.0)]);
    plot
}
