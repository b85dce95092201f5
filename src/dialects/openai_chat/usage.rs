//! The `usage` object: read in each provider's variant, that of OpenAI Responses included, and written as Chat Completions has it.

use std::fmt::Write as _;

use aipipe_actors::money::{NanoUsd, Tokens};

use super::quirks::ChatQuirks;
use crate::dialects::client::Slot;
use crate::dialects::conversation::Usage;
use crate::dialects::decimal;
use crate::dialects::json::{Cursor, Fault, Kind};

#[derive(Debug, Default)]
struct Figures {
    prompt: u64,
    completion: u64,
    total: Option<u64>,
    cached: u64,
    cache_write: u64,
    reasoning: u64,
    audio_input: u64,
    audio_output: u64,
    cost: Option<NanoUsd>,
    upstream_cost: Option<NanoUsd>,
    byok: bool,
}

/// Reads the usage object that the cursor stands on. Figures that are all zero, which MiniMax sends with every chunk, are none.
pub(in crate::dialects) fn read(cursor: &mut Cursor<'_>, quirks: ChatQuirks) -> Result<(Option<Usage>, Slot), Fault> {
    let mut figures = Figures::default();
    let mut own_cost = None;
    let mut has_members = false;
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        has_members = true;
        let kind = cursor.kind()?;
        let value = cursor.position();
        match (key.name.raw(), kind) {
            ("prompt_tokens" | "input_tokens", Kind::Number) => figures.prompt = count(cursor)?,
            ("completion_tokens" | "output_tokens", Kind::Number) => figures.completion = count(cursor)?,
            ("total_tokens", Kind::Number) => figures.total = Some(count(cursor)?),
            // Moonshot's flat figure, DeepSeek's name for it: the same as the one in the details.
            ("cached_tokens" | "prompt_cache_hit_tokens", Kind::Number) => {
                figures.cached = figures.cached.max(count(cursor)?)
            }
            ("prompt_tokens_details" | "input_tokens_details", Kind::Object) => {
                figures.audio_input = details(cursor, &mut figures)?;
            }
            ("completion_tokens_details" | "output_tokens_details", Kind::Object) => {
                figures.audio_output = details(cursor, &mut figures)?;
            }
            ("cost", _) => {
                figures.cost = amount(cursor, kind, 9)?;
                own_cost = Some(value..cursor.position());
            }
            // One tick is 10⁻¹⁰ USD (xAI).
            ("cost_in_usd_ticks", _) => figures.cost = amount(cursor, kind, -1)?,
            ("is_byok", Kind::Bool) => figures.byok = cursor.boolean()?,
            ("cost_details", Kind::Object) => cost_details(cursor, &mut figures)?,
            _ => cursor.pass()?,
        }
    }
    // AiPipe's cost takes the place of a provider's own.
    let slot = own_cost.map_or(Slot::End { at: cursor.position() - 1, has_members }, Slot::Value);
    Ok((figures.usage(quirks), slot))
}

/// Reads the parts of either side, and returns how many of them are audio.
fn details(cursor: &mut Cursor<'_>, figures: &mut Figures) -> Result<u64, Fault> {
    let mut audio = 0;
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        match (key.name.raw(), cursor.kind()?) {
            ("cached_tokens", Kind::Number) => figures.cached = figures.cached.max(count(cursor)?),
            ("cache_write_tokens", Kind::Number) => figures.cache_write = count(cursor)?,
            ("reasoning_tokens", Kind::Number) => figures.reasoning = count(cursor)?,
            ("audio_tokens", Kind::Number) => audio = count(cursor)?,
            _ => cursor.pass()?,
        }
    }
    Ok(audio)
}

fn cost_details(cursor: &mut Cursor<'_>, figures: &mut Figures) -> Result<(), Fault> {
    let mut members = cursor.object()?;
    while let Some(key) = cursor.key(&mut members)? {
        let kind = cursor.kind()?;
        if key.name == *"upstream_inference_cost" {
            figures.upstream_cost = amount(cursor, kind, 9)?;
        } else {
            cursor.pass()?;
        }
    }
    Ok(())
}

fn count(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    let text = cursor.number()?;
    // `16.0` is a count too, and a negative one none.
    Ok(text.parse().unwrap_or_else(|_| text.parse::<f64>().unwrap_or_default() as u64))
}

fn amount(cursor: &mut Cursor<'_>, kind: Kind, shift: i32) -> Result<Option<NanoUsd>, Fault> {
    if kind != Kind::Number {
        cursor.pass()?;
        return Ok(None);
    }
    Ok(decimal::scaled(cursor.number()?, shift).map(|amount| amount.nanos))
}

impl Figures {
    fn usage(&self, quirks: ChatQuirks) -> Option<Usage> {
        if self.prompt == 0 && self.completion == 0 {
            return None;
        }
        let inclusive = self.prompt.saturating_add(self.completion);
        let exclusive = inclusive.saturating_add(self.reasoning);
        let beside = match self.total {
            Some(total) if total == exclusive => self.reasoning > 0,
            Some(total) if total == inclusive => false,
            _ => quirks.completion_excludes_reasoning,
        };
        let output = if beside { self.completion.saturating_add(self.reasoning) } else { self.completion };
        // Some upstreams report more cached than sent, or more reasoning than output.
        let cached_input = self.cached.min(self.prompt);
        let tokens = Tokens {
            input: self.prompt,
            cached_input,
            cache_write: self.cache_write.min(self.prompt - cached_input),
            output,
            reasoning: self.reasoning.min(output),
            audio_input: self.audio_input.min(self.prompt),
            audio_output: self.audio_output.min(output),
        };
        // With the user's own key at OpenRouter `cost` is its fee alone.
        let own_key = if self.byok { self.upstream_cost } else { None };
        let reported_cost = self.cost.map(|cost| cost + own_key.unwrap_or_default());
        Some(Usage { tokens, reported_cost })
    }
}

/// A member for a part that most answers have nothing of, behind others; nothing where it is 0.
pub(in crate::dialects) fn part(name: &str, count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!(",\"{name}\":{count}"),
    }
}

/// Appends the usage object as OpenAI writes it, with the cost beside it.
pub(super) fn write(usage: &Usage, cost_usd: Option<&str>, out: &mut String) {
    let tokens = &usage.tokens;
    let total = tokens.input.saturating_add(tokens.output);
    let written = part("cache_write_tokens", tokens.cache_write);
    let (heard, said) = (part("audio_tokens", tokens.audio_input), part("audio_tokens", tokens.audio_output));
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{total},\"prompt_tokens_details\":{{\"cached_tokens\":{}{written}{heard}}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":{}{said}}}",
        tokens.input, tokens.output, tokens.cached_input, tokens.reasoning
    );
    if let Some(cost) = cost_usd {
        let _ = write!(out, ",\"cost\":{cost}");
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn usage(text: &str, quirks: ChatQuirks) -> Option<Usage> {
        read(&mut Cursor::new(text), quirks).unwrap().0
    }

    fn tokens(text: &str) -> Tokens {
        usage(text, ChatQuirks::default()).unwrap().tokens
    }

    #[test]
    fn d107_d116_reasoning_is_a_part_of_the_output() {
        let openai = r#"{"prompt_tokens":190,"completion_tokens":379,"total_tokens":569,"completion_tokens_details":{"reasoning_tokens":320}}"#;
        assert_eq!(tokens(openai), Tokens { input: 190, output: 379, reasoning: 320, ..Tokens::default() });
        let xai = r#"{"prompt_tokens":331,"completion_tokens":11,"total_tokens":613,"prompt_tokens_details":{"cached_tokens":330},
            "completion_tokens_details":{"reasoning_tokens":271},"cost_in_usd_ticks":1660500}"#;
        let read = usage(xai, ChatQuirks { completion_excludes_reasoning: true, ..ChatQuirks::default() }).unwrap();
        assert_eq!(
            read.tokens,
            Tokens { input: 331, cached_input: 330, output: 282, reasoning: 271, ..Tokens::default() }
        );
        assert_eq!(read.reported_cost, Some(NanoUsd(166_050)));
        let silent = r#"{"prompt_tokens":5,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":7}}"#;
        let excluding = ChatQuirks { completion_excludes_reasoning: true, ..ChatQuirks::default() };
        assert_eq!(usage(silent, excluding).unwrap().tokens.output, 8);
        assert_eq!(tokens(silent).output, 1);
    }

    #[test]
    fn d113_cached_input_is_found_where_each_provider_puts_it() {
        assert_eq!(
            tokens(r#"{"prompt_tokens":8,"completion_tokens":11,"total_tokens":19,"cached_tokens":8}"#).cached_input,
            8
        );
        let openrouter = r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":99,"cache_write_tokens":4},"cost":3.6e-06}"#;
        let read = usage(openrouter, ChatQuirks::default()).unwrap();
        assert_eq!((read.tokens.cached_input, read.tokens.cache_write), (9, 0));
        assert_eq!(read.reported_cost, Some(NanoUsd(3600)));
    }

    #[test]
    fn with_an_own_key_the_fee_is_not_the_cost() {
        let text = r#"{"prompt_tokens":9,"completion_tokens":1,"cost":0.001,"is_byok":true,"cost_details":{"upstream_inference_cost":0.02}}"#;
        assert_eq!(usage(text, ChatQuirks::default()).unwrap().reported_cost, Some(NanoUsd(21_000_000)));
    }

    #[test]
    fn d114_nothing_counted_is_nothing_said() {
        assert_eq!(usage(r#"{"total_tokens":0,"total_characters":0}"#, ChatQuirks::default()), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        let (audio_input, audio_output) = (30, 9);
        let tokens = Tokens {
            input: 100,
            cached_input: 40,
            cache_write: 10,
            output: 20,
            reasoning: 5,
            audio_input,
            audio_output,
        };
        let mut out = String::new();
        write(&Usage { tokens, reported_cost: None }, Some("0.000000123"), &mut out);
        let read = usage(&out, ChatQuirks::default()).unwrap();
        assert_eq!(read, Usage { tokens, reported_cost: Some(NanoUsd(123)) });
    }

    #[test]
    fn d120_cost_joins_or_takes_the_place_of_the_providers_own() {
        for (text, expected) in [
            (r#"{"prompt_tokens":1,"completion_tokens":1}"#, r#"{"prompt_tokens":1,"completion_tokens":1,"cost":0.5}"#),
            (r#"{"cost" : 0.1, "cost_details":{"cost":2}}"#, r#"{"cost" : 0.5, "cost_details":{"cost":2}}"#),
            ("{ }", "{ \"cost\":0.5}"),
        ] {
            let (_, span) = read(&mut Cursor::new(text), ChatQuirks::default()).unwrap();
            let mut splice = crate::dialects::splice::Splice::new(text);
            span.fill(&mut splice, "cost", "0.5");
            assert_eq!(splice.finish(), expected);
        }
    }
}
