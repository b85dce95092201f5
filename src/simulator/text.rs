//! What a simulated model says: a deterministic answer to what it was asked, whatever the wire format.
//!
//! * `[[echo]]` in the last user text: exactly what follows it.
//! * A tool choice that forces a call, or a user text with a word of an offered tool's name: a call with fitting arguments, one for each
//!   such tool where calls may be parallel.
//! * Results of tools after the last user text: a sentence that quotes them.
//! * A schema for the answer: an object that satisfies it.
//! * After the beginning of an answer: the rest of what it would have said.
//! * Otherwise one to five sentences that the text and the seed choose.

use serde_json::{Value, json};

use super::schema::value_for;
use super::usage::{Usage, tokens};

/// FNV-1a, 64 bits: the only source of variety here.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A tool that the request offers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) parameters: Value,
}

/// How far the model is free to call tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ToolChoice {
    #[default]
    Auto,
    Never,
    Any,
    Named(String),
}

/// How many calls one answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Calls {
    #[default]
    Parallel,
    Single,
}

/// The form of the answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Form {
    #[default]
    Prose,
    /// Any JSON object.
    Json,
    Schema(Value),
}

/// Whether the model reasons first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reasoning {
    #[default]
    No,
    /// And the limit of output counts it.
    WithinLimit,
    /// And the limit of output does not count it (xAI).
    BesideLimit,
}

/// What a model sees of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    /// The last user text.
    pub(crate) user: String,
    /// Results of tools after it.
    pub(crate) results: Vec<String>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: ToolChoice,
    pub(crate) calls: Calls,
    pub(crate) form: Form,
    /// The most tokens of output.
    pub(crate) limit: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) reasoning: Reasoning,
    /// How the answer begins already: the model writes the rest of what it would have said.
    pub(crate) begun: String,
    /// In place of what the model would say.
    pub(crate) says: Option<String>,
    pub(crate) seed: u64,
}

/// A call of a tool.
#[derive(Debug, Clone)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    /// JSON, cut short where the limit of output was reached.
    pub(crate) arguments: String,
}

impl ToolCall {
    /// The arguments as an object; `None` where they were cut short.
    pub(crate) fn object(&self) -> Option<Value> {
        serde_json::from_str(&self.arguments).ok()
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Done,
    Calls,
    Limit,
    /// At this stop sequence.
    Stopped(String),
}

/// A model's answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// Empty where the model did not reason.
    pub(crate) reasoning: String,
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) finish: Finish,
    /// With the input as it was given.
    pub(crate) usage: Usage,
}

/// Answers; `input` is the usage of the prompt.
pub(crate) fn reply(ask: &Ask, input: Usage) -> Reply {
    let mut budget = ask.limit;
    let mut reasoning = String::new();
    if ask.reasoning != Reasoning::No {
        reasoning = reasoning_about(ask);
    }
    let mut reply = Reply { reasoning, text: String::new(), calls: Vec::new(), finish: Finish::Done, usage: input };
    if ask.reasoning == Reasoning::WithinLimit && take(&mut reply.reasoning, &mut budget) {
        reply.finish = Finish::Limit;
    }
    if reply.finish != Finish::Limit {
        answer_within(ask, budget, &mut reply);
    }
    let called: u64 = reply.calls.iter().map(|call| tokens(&call.name) + tokens(&call.arguments)).sum();
    reply.usage.reasoning = tokens(&reply.reasoning);
    reply.usage.output = reply.usage.reasoning + tokens(&reply.text) + called;
    reply
}

fn answer_within(ask: &Ask, mut budget: Option<u64>, reply: &mut Reply) {
    reply.calls = calls_for(ask);
    if !reply.calls.is_empty() {
        reply.finish = Finish::Calls;
        for call in &mut reply.calls {
            budget = budget.map(|left| left.saturating_sub(tokens(&call.name)));
            if take(&mut call.arguments, &mut budget) {
                reply.finish = Finish::Limit;
            }
        }
        return;
    }
    let whole = text_for(ask);
    // One that would have said something else says that.
    reply.text = whole.strip_prefix(&*ask.begun).map_or(whole.clone(), str::to_owned);
    let stops = ask.stop.iter().filter_map(|stop| reply.text.find(stop.as_str()).map(|at| (at, stop)));
    if let Some((at, stop)) = stops.min_by_key(|(at, _)| *at) {
        reply.finish = Finish::Stopped(stop.clone());
        reply.text.truncate(at);
    }
    if take(&mut reply.text, &mut budget) {
        reply.finish = Finish::Limit;
    }
}

/// Spends the budget on a text; cuts it and says so where the budget ends first.
fn take(text: &mut String, budget: &mut Option<u64>) -> bool {
    let Some(left) = budget else { return false };
    let wanted = tokens(text);
    if wanted <= *left {
        *left -= wanted;
        return false;
    }
    *text = text.chars().take(usize::try_from(*left * 4).unwrap_or(usize::MAX)).collect();
    *left = 0;
    true
}

fn calls_for(ask: &Ask) -> Vec<ToolCall> {
    if ask.says.is_some() || ask.user.contains("[[echo]]") {
        return Vec::new();
    }
    let user = ask.user.to_lowercase();
    let mut wanted: Vec<&Tool> = match &ask.choice {
        ToolChoice::Never => Vec::new(),
        ToolChoice::Named(name) => ask.tools.iter().filter(|tool| tool.name == *name).collect(),
        ToolChoice::Auto if !ask.results.is_empty() => Vec::new(),
        ToolChoice::Auto | ToolChoice::Any => ask.tools.iter().filter(|tool| mentions(&user, &tool.name)).collect(),
    };
    if wanted.is_empty() && ask.choice == ToolChoice::Any {
        wanted.extend(ask.tools.first());
    }
    if ask.calls == Calls::Single {
        wanted.truncate(1);
    }
    let call = |tool: &Tool| {
        let arguments = if tool.parameters.is_null() { json!({}) } else { value_for(&tool.parameters, &ask.user) };
        ToolCall { name: tool.name.clone(), arguments: arguments.to_string() }
    };
    wanted.into_iter().map(call).collect()
}

/// Whether a text has a word of the tool's name: "the weather in Rome" mentions `get_weather`.
fn mentions(user: &str, tool: &str) -> bool {
    let common = ["tool", "this", "that", "what", "with", "from"];
    let tool = tool.to_lowercase();
    let words = tool.split(|letter: char| !letter.is_alphanumeric());
    user.contains(&tool)
        || words.filter(|word| word.len() >= 4 && !common.contains(word)).any(|word| user.contains(word))
}

fn text_for(ask: &Ask) -> String {
    if let Some(says) = &ask.says {
        return says.clone();
    }
    if let Some((_, echoed)) = ask.user.split_once("[[echo]]") {
        return echoed.trim().to_owned();
    }
    match &ask.form {
        Form::Schema(schema) => return value_for(schema, &ask.user).to_string(),
        Form::Json => return json!({"answer": sentences(ask)}).to_string(),
        Form::Prose => {}
    }
    if ask.results.is_empty() {
        return sentences(ask);
    }
    format!("The tool answered: {}. {}", ask.results.join("; "), sentences(ask))
}

/// Sentences that could stand in an answer to anything.
const SENTENCES: [&str; 16] = [
    "Here is a short answer, with the main point first.",
    "The simplest approach is to start small and measure before changing anything.",
    "There are two things to keep in mind: what you need today, and what will be hard to change later.",
    "In most cases the first option is enough; the second pays off only at scale.",
    "A good rule of thumb is to prefer the design that is easiest to explain.",
    "For example, a service that reads far more often than it writes gains most from a cache.",
    "The trade-off is between cost and latency, and the right balance depends on your traffic.",
    "You can check this with a small experiment: vary one parameter and keep the others fixed.",
    "If the numbers disagree with the theory, trust the numbers and look for the assumption that failed.",
    "Note that the limits differ between regions, so read the current documentation before you decide.",
    "To sum up, choose the plain solution, test it well, and write down why you chose it.",
    "It also helps to ask what would happen if the input were ten times larger.",
    "The names are historical, which is why they look inconsistent at first.",
    "Step by step: collect the data, clean it, look at it, and only then fit a model.",
    "An alternative is to postpone the decision until more is known, which costs little here.",
    "Let me know if you would like more detail on any of these points.",
];

fn sentences(ask: &Ask) -> String {
    let chosen = hash(ask.user.as_bytes()) ^ ask.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let count = 1 + (chosen >> 8) as usize % 5;
    let first = (chosen >> 16) as usize % SENTENCES.len();
    let sentences: Vec<&str> = SENTENCES.iter().cycle().skip(first).step_by(3).take(count).copied().collect();
    sentences.join(" ")
}

fn reasoning_about(ask: &Ask) -> String {
    let start: String = ask.user.chars().take(60).collect();
    let next = if ask.results.is_empty() {
        "I know enough to answer."
    } else {
        "The tool has answered, so I can use its result."
    };
    format!("The user asks: {start}. {next} I will keep it short and begin with the point.")
}

/// Cuts a text into the pieces of a stream: so many words each, white space kept, nothing lost.
pub(crate) fn pieces(text: &str, words: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut seen = 0;
    let mut previous = 'x';
    for (at, letter) in text.char_indices() {
        if letter == ' ' && previous != ' ' && at > start {
            seen += 1;
            if seen == words {
                pieces.extend(text.get(start..at));
                start = at;
                seen = 0;
            }
        }
        previous = letter;
    }
    pieces.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    pieces
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn weather() -> Tool {
        Tool {
            name: "get_weather".to_owned(),
            parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
        }
    }

    fn asked(user: &str) -> Ask {
        Ask { user: user.to_owned(), ..Ask::default() }
    }

    #[test]
    fn the_same_question_has_the_same_answer_and_another_has_another() {
        let text = |user: &str| reply(&asked(user), Usage::default()).text;
        assert_eq!(text("one"), text("one"));
        assert_ne!(text("one"), text("two"));
        assert_eq!(text("please [[echo]] just this"), "just this");
    }

    #[test]
    fn a_beginning_is_continued() {
        let ask = |begun: &str| Ask { begun: begun.to_owned(), ..asked("[[echo]] one two") };
        assert_eq!(reply(&ask("one"), Usage::default()).text, " two");
        assert_eq!(reply(&ask("three"), Usage::default()).text, "one two");
    }

    #[test]
    fn a_tool_is_called_when_the_text_asks_for_it_and_its_result_is_quoted() {
        let mut ask = Ask { tools: vec![weather()], ..asked("How is the weather in Rome?") };
        let called = reply(&ask, Usage::default());
        assert_eq!(called.calls[0].arguments, r#"{"city":"Rome"}"#);
        assert_eq!(called.finish, Finish::Calls);
        ask.results.push("22 degrees".to_owned());
        let told = reply(&ask, Usage::default());
        assert!(told.calls.is_empty() && told.text.contains("22 degrees"));
        ask.choice = ToolChoice::Named("get_weather".to_owned());
        assert_eq!(reply(&ask, Usage::default()).calls.len(), 1);
    }

    #[test]
    fn the_limit_counts_reasoning_where_the_provider_counts_it() {
        let mut ask = Ask { limit: Some(5), reasoning: Reasoning::WithinLimit, ..asked("Why?") };
        let within = reply(&ask, Usage::default());
        assert_eq!((within.text.as_str(), within.usage.output, within.finish), ("", 5, Finish::Limit));
        ask.reasoning = Reasoning::BesideLimit;
        let beside = reply(&ask, Usage::default());
        assert_eq!((tokens(&beside.text), beside.finish), (5, Finish::Limit));
    }

    #[test]
    fn a_stop_sequence_cuts_the_text_before_itself() {
        let ask = Ask { stop: vec!["c".to_owned()], ..asked("[[echo]] abcde") };
        let stopped = reply(&ask, Usage::default());
        assert_eq!((stopped.text.as_str(), stopped.finish), ("ab", Finish::Stopped("c".to_owned())));
    }

    #[test]
    fn pieces_lose_nothing() {
        for text in ["", " ", "one", "one two  three four ", "日本 語"] {
            assert_eq!(pieces(text, 2).concat(), text);
        }
        assert_eq!(pieces("one two three", 1), ["one", " two", " three"]);
    }
}
