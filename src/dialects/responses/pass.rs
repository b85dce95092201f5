//! A client's body made ready for a provider of the same dialect: a few splices, every other byte as it came.

use aipipe_actors::catalogue::Capability;

use super::scan::{Encrypted, ItemSpan, Scan};
use crate::dialects::client::{Chosen, Prepared, Target};
use crate::dialects::edits::Edits;
use crate::dialects::splice::Cutter;

/// Sampling parameters that only tune.
const TUNING: [&str; 2] = ["temperature", "top_p"];

/// Makes a scanned body ready.
pub(super) fn prepare(scan: &Scan<'_>, target: &Target<'_>) -> Prepared {
    let mut fitting = Fitting { scan, target, edits: Edits::with_model(&scan.found, target.model) };
    fitting.take_out_what_others_issued();
    if target.chosen == Chosen::Auto {
        fitting.fit_to_model();
    }
    fitting.edits.finish()
}

struct Fitting<'e> {
    scan: &'e Scan<'e>,
    target: &'e Target<'e>,
    edits: Edits<'e>,
}

/// What becomes of an item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The provider issued it, or it has nothing that anybody issues.
    Stays,
    /// Another issued it, or AiPipe: without its id it stands for itself.
    LosesId,
    /// Another made it, and only that one can read it.
    Goes,
}

impl Fitting<'_> {
    /// An id leads the provider to what it keeps, whoever's that is; encrypted thoughts can be read by their maker alone.
    fn take_out_what_others_issued(&mut self) {
        let scan = self.scan;
        let mut cutter = Cutter::default();
        let mut thoughts_gone = false;
        for item in &scan.spans.items {
            cutter.key(item.range.start);
            match self.fate(item) {
                Fate::Goes => {
                    thoughts_gone = true;
                    cutter.cut(item.range.end);
                    continue;
                }
                Fate::LosesId => {
                    for range in item.id.iter().flat_map(|(_, member)| member) {
                        self.edits.splice.remove(range.clone());
                    }
                }
                Fate::Stays => {}
            }
            cutter.keep(item.range.end);
        }
        cutter.close().into_iter().for_each(|range| self.edits.splice.remove(range));
        if thoughts_gone {
            self.edits.tell("input.reasoning");
        }
    }

    fn fate(&self, item: &ItemSpan) -> Fate {
        let is_own = |hash| self.target.holdings.is_at(hash, &self.target.model.provider);
        let keeps_id = item.id.as_ref().is_none_or(|(hash, _)| is_own(*hash));
        match item.encrypted {
            Some(Encrypted::Marked) => Fate::Goes,
            Some(Encrypted::Raw(hash)) if !is_own(hash) => Fate::Goes,
            None if item.is_kept_thought && !keeps_id => Fate::Goes,
            _ if keeps_id => Fate::Stays,
            _ => Fate::LosesId,
        }
    }

    /// Leaves out or lowers what only tunes and the model cannot take.
    fn fit_to_model(&mut self) {
        let model = self.target.model;
        let most = model.max_output_tokens;
        if most > 0 && self.scan.found.output_limit.is_some_and(|asked| asked > most) {
            self.edits.tell("max_output_tokens");
            self.edits.replace("max_output_tokens", most.to_string());
        }
        for name in TUNING {
            if model.parameters.refuses(name) {
                self.edits.drop_member(name);
            }
        }
        if !model.capabilities.contains(Capability::Reasoning) {
            self.edits.drop_member("reasoning");
            return;
        }
        let asked = self.scan.reasoning.as_ref().and_then(|reasoning| reasoning.effort);
        if let (Some(asked), Some(range)) = (asked, self.scan.spans.effort.clone()) {
            let nearest = model.parameters.nearest_effort(asked);
            if nearest != asked {
                self.edits.tell("reasoning.effort");
                if let Ok(level) = serde_json::to_string(&nearest) {
                    self.edits.splice.replace(range, level);
                }
            }
        }
    }
}
