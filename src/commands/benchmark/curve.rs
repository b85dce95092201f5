//! How much of a strong model's advantage a score keeps at a share of its extra cost, with what is left to chance beside it.
//!
//! Two tiers answered every prompt. The highest scores go to the strong one until a share of the extra spend is used up; what is gained by
//! then, of all that the strong tier gains over the weak one, is the PGR (performance gap recovered, RouteLLM, arXiv 2406.18665). A coin
//! that spends the same gains the same share of it as it spends: the control.

use std::collections::BTreeMap;

/// Points of the curve.
const GRID: usize = 101;
/// Resamples of the bootstrap.
pub(super) const RESAMPLES: usize = 400;
/// Its seed: the same data give the same intervals.
const SEED: u64 = 1;

/// One prompt that both tiers answered.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Where it is from: sources weigh the same, however many prompts they have.
    pub(super) source: String,
    /// The score.
    pub(super) complexity: f64,
    /// What the weak tier scored.
    pub(super) weak: f64,
    /// What the strong tier scored.
    pub(super) strong: f64,
    /// Whether the prompt needs the strong tier.
    pub(super) need: bool,
    /// What a call of the strong tier costs, in any unit.
    pub(super) cost: f64,
}

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// What the score does at one share of the extra spend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operating {
    /// Share of the extra spend.
    pub(super) spend: f64,
    /// PGR; the control's is the spend.
    pub(super) recovered: Figure,
    /// Quality relative to all strong, and the control's.
    pub(super) kept: [f64; 2],
    /// Share of the prompts that need the strong tier and got the weak one, and the control's.
    pub(super) risk: [f64; 2],
    /// Share of the prompts that got the strong tier without need, and the control's.
    pub(super) waste: [f64; 2],
}

/// All that is measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) prompts: usize,
    pub(super) need: f64,
    pub(super) weak: f64,
    pub(super) strong: f64,
    /// Mean of the PGR over all shares of spend: 0.5 is a coin.
    pub(super) apgr: Figure,
    /// The least spend with half of the advantage, and with four fifths of it.
    pub(super) cpt: [Figure; 2],
    pub(super) operating: Vec<Operating>,
    /// PGR at each point of the grid.
    pub(super) curve: Vec<Figure>,
    /// Prompts, share in need and APGR of each source.
    pub(super) sources: BTreeMap<String, (usize, f64, f64)>,
}

/// The curves of one sample, at each point of the grid.
struct Sample {
    recovered: Vec<f64>,
    /// Share of all prompts in need that is sent up, and of those without.
    needed: Vec<f64>,
    wasted: Vec<f64>,
}

/// Measures a score; nothing where no tier is better.
pub(super) fn measure(mut outcomes: Vec<Outcome>, mut tick: impl FnMut()) -> Option<Measured> {
    outcomes.sort_by(|a, b| b.complexity.total_cmp(&a.complexity));
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, outcome) in outcomes.iter().enumerate() {
        places.entry(&outcome.source).or_default().push(place);
    }
    let share = 1.0 / places.len() as f64;
    let weights: Vec<f64> =
        outcomes.iter().map(|outcome| share / places.get(outcome.source.as_str()).map_or(1, Vec::len) as f64).collect();
    let mean = |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().zip(&weights).map(|(it, weight)| of(it) * weight).sum();
    let (weak, strong): (f64, f64) = (mean(&|it| it.weak), mean(&|it| it.strong));
    let need: f64 = mean(&|it| f64::from(u8::from(it.need)));
    let whole = sample(&outcomes, &weights)?;

    let mut random = fastrand::Rng::with_seed(SEED);
    let mut resampled = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let mut drawn = vec![0.0; outcomes.len()];
        for of_source in places.values() {
            for _ in of_source {
                let chosen = of_source.get(random.usize(..of_source.len()));
                if let Some(slot) = chosen.and_then(|&place| drawn.get_mut(place)) {
                    *slot += 1.0;
                }
            }
        }
        let weights: Vec<f64> = drawn.iter().zip(&weights).map(|(times, weight)| times * weight).collect();
        resampled.extend(sample(&outcomes, &weights));
        tick();
    }
    let figure = |of: &dyn Fn(&Sample) -> f64| {
        let mut values: Vec<f64> = resampled.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get((share * (values.len() - 1) as f64).round() as usize).copied();
        let value = of(&whole);
        Figure { value, low: at(0.025).unwrap_or(value), high: at(0.975).unwrap_or(value) }
    };
    let operating = [0.1, 0.25, 0.5, 0.75].map(|spend: f64| {
        let at = (spend * (GRID - 1) as f64).round() as usize;
        let point = |values: &[f64]| values.get(at).copied().unwrap_or(0.0);
        let kept = |recovered: f64| (weak + recovered * (strong - weak)) / strong;
        Operating {
            spend,
            recovered: figure(&|sample| point(&sample.recovered)),
            kept: [kept(point(&whole.recovered)), kept(spend)],
            risk: [need - point(&whole.needed), need * (1.0 - spend)],
            waste: [point(&whole.wasted), (1.0 - need) * spend],
        }
    });
    let sources = places.iter().map(|(source, places)| {
        let chosen: Vec<f64> = outcomes.iter().map(|it| f64::from(u8::from(it.source == *source))).collect();
        let needing = places.iter().filter(|&&it| outcomes.get(it).is_some_and(|it| it.need)).count();
        let apgr = sample(&outcomes, &chosen).map_or(f64::NAN, |sample| area(&sample.recovered));
        ((*source).to_owned(), (places.len(), needing as f64 / places.len() as f64, apgr))
    });
    Some(Measured {
        prompts: outcomes.len(),
        need,
        weak,
        strong,
        apgr: figure(&|sample| area(&sample.recovered)),
        cpt: [0.5, 0.8].map(|level| figure(&|sample| first_above(&sample.recovered, level))),
        operating: operating.to_vec(),
        curve: (0..GRID).map(|at| figure(&|sample| sample.recovered.get(at).copied().unwrap_or(0.0))).collect(),
        sources: sources.collect(),
    })
}

/// The curves with these weights; outcomes come by falling score. Equal scores enter together, so that a constant one is a coin.
fn sample(outcomes: &[Outcome], weights: &[f64]) -> Option<Sample> {
    let mut steps = vec![[0.0; 4]];
    let mut sum = [0.0; 4];
    let mut before = f64::NAN;
    for (outcome, weight) in outcomes.iter().zip(weights) {
        if outcome.complexity != before && !before.is_nan() {
            steps.push(sum);
        }
        before = outcome.complexity;
        let needed = if outcome.need { *weight } else { 0.0 };
        let adds = [weight * outcome.cost, weight * (outcome.strong - outcome.weak), needed, weight - needed];
        sum.iter_mut().zip(adds).for_each(|(sum, add)| *sum += add);
    }
    steps.push(sum);
    let [spend, gain, needed, wasted] = sum;
    if spend <= 0.0 || gain <= 0.0 {
        return None;
    }
    let total = needed + wasted;
    let mut curves = Sample { recovered: Vec::new(), needed: Vec::new(), wasted: Vec::new() };
    let mut pairs = steps.windows(2);
    let mut pair = pairs.next();
    for at in 0..GRID {
        let wanted = at as f64 / (GRID - 1) as f64 * spend;
        while let Some([_, [end, ..]]) = pair
            && *end < wanted
            && let Some(next) = pairs.next()
        {
            pair = Some(next);
        }
        let Some([from, to]) = pair else { return None };
        let ([left, ..], [right, ..]) = (from, to);
        let part = if right > left { ((wanted - left) / (right - left)).clamp(0.0, 1.0) } else { 1.0 };
        let [_, gained, up, over] = std::array::from_fn(|column| {
            let value = |step: &[f64; 4]| step.get(column).copied().unwrap_or(0.0);
            value(from) + part * (value(to) - value(from))
        });
        curves.recovered.push(gained / gain);
        curves.needed.push(up / total);
        curves.wasted.push(over / total);
    }
    Some(curves)
}

/// The mean of a curve over the grid.
fn area(curve: &[f64]) -> f64 {
    let pairs = curve.windows(2).map(|pair| pair.iter().sum::<f64>() / 2.0);
    pairs.sum::<f64>() / (curve.len() - 1) as f64
}

/// The first point of the grid with so much.
fn first_above(curve: &[f64], level: f64) -> f64 {
    let at = curve.iter().position(|&value| value >= level).unwrap_or(curve.len() - 1);
    at as f64 / (curve.len() - 1) as f64
}
