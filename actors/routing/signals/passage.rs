//! A message cut into what is asked and what is only brought along: code, logs, quoted lines, the middle of a long document.

use memchr::memchr2;

use super::printed::is_printed;

/// Bytes that are looked at from each end of a message: what is asked stands at one of them.
const END_BYTES: usize = 8 * 1024;
/// Longest rest of a line that is left out where the cut goes through it.
const CUT_LINE: usize = 1_024;
/// Prose up to so many bytes is taken for the ask as a whole.
const WHOLE_ASK: usize = 1_800;
/// Of longer prose, a first or last paragraph up to so many bytes is.
const SHORT_PARAGRAPH: usize = 500;
/// Where neither is so short, so many bytes at either end are.
const EDGE: usize = 300;

/// Tags around material that are looked for in one message, since each is searched to its end.
const MOST_WRAPPINGS: usize = 16;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Part of the ask.
    Ask,
    /// Prose that is not asked but brought along.
    Material,
    /// Code.
    Code,
    /// A line of a log or table.
    Log,
}

/// Head and tail of a text; the whole of it is the head where it is short.
pub(super) fn ends(text: &str) -> [&str; 2] {
    if text.len() <= 2 * END_BYTES {
        return [text, ""];
    }
    let head = (0..=END_BYTES).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let tail = (text.len() - END_BYTES..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    // A line that is cut through is no longer known for what it is.
    let (head, tail) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    let whole = head.rfind('\n').filter(|end| head.len() - end <= CUT_LINE).and_then(|end| head.get(..=end));
    let next = tail.find('\n').filter(|&end| end <= CUT_LINE).and_then(|end| tail.get(end + 1..));
    [whole.unwrap_or(head), next.unwrap_or(tail)]
}

/// Calls `each` with the pieces of a message in their order. No piece is longer than a line.
pub(super) fn pieces<'a>(text: &'a str, mut each: impl FnMut(Kind, &'a str)) {
    let parts = ends(text);
    if text.len() <= WHOLE_ASK {
        return lines(parts, |kind, line| {
            if kind != Kind::Ask || !line.is_empty() {
                each(kind, line);
            }
        });
    }
    let mut prose = Prose::default();
    lines(parts, |kind, line| {
        if kind == Kind::Ask {
            prose.add(line);
        }
    });
    let middle = prose.middle();
    let mut seen = 0;
    lines(parts, |kind, line| {
        if kind != Kind::Ask {
            return each(kind, line);
        }
        let start = seen;
        seen += line.len();
        let from = boundary(line, middle.start.saturating_sub(start));
        let to = boundary(line, middle.end.saturating_sub(start)).max(from);
        for (kind, range) in [(Kind::Ask, 0..from), (Kind::Material, from..to), (Kind::Ask, to..line.len())] {
            match line.get(range) {
                Some(piece) if !piece.is_empty() => each(kind, piece),
                _ => {}
            }
        }
    });
}

/// Where the paragraphs of the prose are, in bytes of prose.
#[derive(Default)]
struct Prose {
    bytes: usize,
    paragraphs: usize,
    /// Where the first paragraph ends, once there is another.
    first_end: usize,
    /// Where the last paragraph begins.
    last_start: usize,
    within: bool,
}

impl Prose {
    fn add(&mut self, line: &str) {
        let blank = line.trim_start().is_empty();
        if !blank && !self.within {
            self.paragraphs += 1;
            self.last_start = self.bytes;
            if self.paragraphs == 2 {
                self.first_end = self.bytes;
            }
        }
        self.within = !blank;
        self.bytes += line.len();
    }

    /// What is no ask of it: nothing where it is short, else all but a short paragraph at either end.
    fn middle(&self) -> std::ops::Range<usize> {
        if self.bytes <= WHOLE_ASK {
            return self.bytes..self.bytes;
        }
        let several = self.paragraphs > 1;
        let (first, last) = (self.first_end, self.bytes - self.last_start);
        let mut short_first = several && first <= SHORT_PARAGRAPH;
        let mut short_last = several && last <= SHORT_PARAGRAPH;
        // A document of short paragraphs: the one at its ends that is no shorter than the rest is part of it.
        let usual = self.bytes / self.paragraphs.max(1);
        if short_first && short_last && self.paragraphs > 3 && (2 * first <= usual) != (2 * last <= usual) {
            (short_first, short_last) = (2 * first <= usual, 2 * last <= usual);
        }
        let from = match (short_first, short_last) {
            (true, _) => self.first_end,
            (false, true) => 0,
            (false, false) => EDGE,
        };
        let to = match (short_last, short_first) {
            (true, _) => self.last_start,
            (false, true) => self.bytes,
            (false, false) => self.bytes - EDGE,
        };
        from..to
    }
}

/// The first place from `at` on where a line may be cut.
fn boundary(line: &str, at: usize) -> usize {
    (at.min(line.len())..line.len()).find(|&at| line.is_char_boundary(at)).unwrap_or(line.len())
}

/// Tags that hold the ask itself where a harness wraps a message in tags.
const ASK_TAGS: [&str; 8] =
    ["task", "user_query", "query", "question", "request", "instruction", "instructions", "message"];

/// The tag that a line opens, where it stands alone at the line's beginning: `system-reminder`.
fn opened_tag(bare: &str) -> Option<&str> {
    let (name, _) = bare.strip_prefix('<')?.split_once('>')?;
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
    (named && !ASK_TAGS.contains(&name)).then_some(name)
}

/// Whether a line closes a tag.
fn closes(line: &str, tag: &str) -> bool {
    line.split("</").skip(1).any(|rest| rest.strip_prefix(tag).is_some_and(|rest| rest.starts_with('>')))
}

/// How a harness heads the ask below the context that it collected (`## My request for Codex:`).
const REQUEST_HEADING: &str = "\n## My request for ";
/// How a harness introduces what local commands wrote.
const CAVEAT: &str = "Caveat: The messages below were generated";

/// What stands before and after the heading of the request, where there is one.
fn request_heading(text: &str) -> Option<(&str, &str)> {
    let (before, after) = text.split_once(REQUEST_HEADING)?;
    Some((before, after.split_once('\n').map_or("", |(_, request)| request)))
}

/// The first line of a text and what follows it. A line break that was escaped twice and stands as `\\n` is one too.
fn split_line(text: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(found) = text.as_bytes().get(from..).and_then(|rest| memchr2(b'\n', b'\\', rest)) {
        let at = from + found;
        let (line, rest) = text.split_at(at);
        if let Some(after) = rest.strip_prefix('\n') {
            return (line, after);
        }
        if let Some(after) = rest.strip_prefix("\\n")
            && !after.starts_with(|next: char| next.is_ascii_lowercase())
        {
            return (line, after);
        }
        from = at + 1;
    }
    (text, "")
}

/// Calls `each` with every line and its kind.
fn lines<'a>(parts: [&'a str; 2], mut each: impl FnMut(Kind, &'a str)) {
    let (mut fenced, mut wrapped, mut wrappings) = (false, None, 0);
    let mut awaited = parts.iter().any(|part| request_heading(part).is_some());
    for part in parts {
        let mut rest = part;
        if awaited {
            let (before, request) = request_heading(part).map_or((part, None), |(before, after)| (before, Some(after)));
            each(Kind::Material, before);
            awaited = request.is_none();
            rest = request.unwrap_or_default();
        }
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            rest = after;
            let bare = line.trim();
            if let Some(tag) = wrapped {
                each(Kind::Material, line);
                wrapped = (!closes(line, tag)).then_some(tag);
                continue;
            }
            if bare.is_empty() {
                each(Kind::Ask, bare);
                continue;
            }
            if bare.starts_with(CAVEAT) {
                each(Kind::Material, line);
                continue;
            }
            if bare.starts_with("```") || bare.starts_with("~~~") {
                fenced = !fenced;
                continue;
            }
            if wrappings < MOST_WRAPPINGS
                && !fenced
                && let Some(tag) = opened_tag(bare)
            {
                wrappings += 1;
                if closes(bare, tag) || closes(rest, tag) {
                    each(Kind::Material, line);
                    wrapped = (!closes(bare, tag)).then_some(tag);
                    continue;
                }
            }
            let kind = if !fenced && is_object(bare) {
                Kind::Log
            } else if fenced || looks_like_code(bare) {
                Kind::Code
            } else if looks_like_log(bare) || is_printed(bare) {
                Kind::Log
            } else if bare.starts_with("> ") {
                Kind::Material
            } else {
                Kind::Ask
            };
            each(kind, line);
        }
    }
}

/// Beginnings of lines that are hardly ever prose.
const CODE_BEGINNINGS: [&str; 24] = [
    "def ", "import ", "from __", "#include", "return ", "return;", "for (", "if (", "while (", "else:", "elif ",
    "public ", "private ", "const ", "let ", "var ", "func ", "fn ", "struct ", "assert ", "print(", "SELECT ", "}",
    "@",
];

fn looks_like_code(bare: &str) -> bool {
    let ends_so =
        bare.ends_with(['{', '}', ';']) || bare.ends_with("):") || bare.ends_with("=>") || bare.ends_with("\\\\");
    let latex = bare.starts_with('$') || bare.starts_with('\\');
    if latex {
        return false;
    }
    if ends_so && bare.bytes().filter(|&byte| byte == b' ').count() < 16 {
        return true;
    }
    let begins_so = CODE_BEGINNINGS.iter().any(|beginning| bare.starts_with(beginning))
        && bare.bytes().any(|byte| matches!(byte, b'(' | b'=' | b':' | b';' | b'}' | b'.' | b'*'))
        && !bare.ends_with(['.', '?', '!']);
    begins_so || assigns(bare)
}

/// `name = …` or `name.call(…)` alone on a line.
fn assigns(bare: &str) -> bool {
    let name = bare
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'[' | b']'))
        .count();
    let rest = bare.get(name..).unwrap_or_default();
    name > 0 && ((rest.starts_with('(') && rest.ends_with(')')) || rest.starts_with(" = ") || rest.starts_with(" += "))
}

/// Beginnings of lines that a program wrote as it failed.
const TRACE_BEGINNINGS: [&str; 5] = ["Traceback (most", "File \"", "Caused by:", "goroutine ", "Exception in thread"];

/// A line of a stack trace: a frame, or the name of an error with its message.
fn is_traced(bare: &str) -> bool {
    let frame = TRACE_BEGINNINGS.iter().any(|beginning| bare.starts_with(beginning))
        && (bare.contains(['(', ':', '/', '[']) && !bare.ends_with(['?', '!']));
    let name = bare.split(':').next().unwrap_or_default();
    let error = ["Error", "Exception", "Warning"].iter().any(|ending| name.ends_with(ending))
        && name.len() > 7
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'));
    frame || error || (bare.starts_with("at ") && bare.ends_with(')'))
}

/// An object of JSON alone on its line.
fn is_object(bare: &str) -> bool {
    bare.starts_with("{\"") && bare.ends_with('}')
}

/// The months at the beginning of syslog's lines.
const MONTHS: [&str; 12] =
    ["Jan ", "Feb ", "Mar ", "Apr ", "May ", "Jun ", "Jul ", "Aug ", "Sep ", "Oct ", "Nov ", "Dec "];

/// `Mar 11 10:20:07 host …`.
fn is_syslog(bare: &str) -> bool {
    let dated = bare.get(..4).is_some_and(|start| MONTHS.contains(&start));
    let clock = bare.split_ascii_whitespace().nth(2).map(str::as_bytes);
    dated && clock.is_some_and(|clock| matches!(clock, [_, _, b':', _, _, b':', _, _, ..]))
}

fn looks_like_log(bare: &str) -> bool {
    if is_traced(bare) || is_object(bare) || is_syslog(bare) {
        return true;
    }
    if bare.len() < 40 || !bare.is_ascii() {
        return false;
    }
    if !bare.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '[' | '|')) {
        return false;
    }
    let (mut digits, mut marks) = (0, 0);
    for byte in bare.bytes() {
        digits += usize::from(byte.is_ascii_digit());
        marks += usize::from(matches!(byte, b':' | b'=' | b'[' | b']' | b'|' | b'/' | b'-' | b'_'));
    }
    digits * 8 > bare.len() && marks * 12 > bare.len()
}
