//! Takes out of a provider's message what belongs to the operator's account, bounds its length, and says so where there is none.
//!
//! Messages of all providers pass through here before they reach a client, the log or the ledger. What is known to be secret is a word
//! that looks like a key or an account (by its prefix, or a UUID), and a word that follows what announces one.

/// Longest message that is passed on.
const MAX_BYTES: usize = 2_000;
const REDACTED: &str = "[redacted]";
/// Beginnings of the providers' keys, tokens, organisations, projects and users.
const PREFIXES: [&str; 16] = [
    "sk-", "rk-", "pk-", "ak-", "xai-", "aip_", "org-", "org_", "proj_", "proj-", "user_", "user-", "apikey_", "AIza",
    "AQ.", "eyJ",
];
/// What stands right before a key, a project's id or its number; `bearer ` in any case.
const MARKS: [&str; 5] = ["key=", "project=", "project_number:", "projects/", "bearer "];

/// The message without keys and accounts, cut at a length that no honest message has; where it is blank, that the provider gave no reason.
pub fn scrub(message: &str) -> String {
    if message.trim().is_empty() {
        return "the provider gave no reason".to_owned();
    }
    let mut clean = String::with_capacity(message.len().min(MAX_BYTES));
    let mut rest = message;
    while let Some(start) = rest.find(is_word) {
        let (between, tail) = rest.split_at(start);
        let end = tail.find(|c| !is_word(c)).unwrap_or(tail.len());
        // A full stop after a word ends the sentence.
        let word = tail.get(..end).unwrap_or_default().trim_end_matches('.');
        clean.push_str(between);
        clean.push_str(if is_secret(word) || is_announced(&clean, word) { REDACTED } else { word });
        rest = tail.get(word.len()..).unwrap_or_default();
        if word.is_empty() {
            let (dots, after) = tail.split_at(end);
            clean.push_str(dots);
            rest = after;
        }
        if clean.len() > MAX_BYTES {
            return cut(clean);
        }
    }
    clean.push_str(rest);
    if clean.len() > MAX_BYTES { cut(clean) } else { clean }
}

/// A code or the name of a field, for the log; `None` where a provider put something else in its place, which may be of a prompt.
pub fn name(text: &str) -> Option<&str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']');
    (text.len() <= 64 && text.bytes().all(is_part)).then_some(text)
}

/// The message without a secret that is known letter by letter, whatever it looks like. Shorter than six letters nothing is a secret:
/// servers without keys are given any word.
pub fn without(message: &str, secret: &str) -> String {
    if secret.len() < 6 { message.to_owned() } else { message.replace(secret, REDACTED) }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '.')
}

fn cut(mut text: String) -> String {
    let end = (0..=MAX_BYTES).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.truncate(end);
    text.push('…');
    text
}

/// Whether a word names a key or an account.
fn is_secret(word: &str) -> bool {
    let is_uuid = word.len() == 36
        && word.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    let Some(rest) = PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix)) else { return is_uuid };
    // `user-defined` and `org-wide` are words; ids have digits, capitals or the stars of a mask.
    is_uuid || (rest.len() >= 4 && rest.bytes().any(|b| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b'*'))
}

/// Whether what stands before a word says that it is one.
fn is_announced(before: &str, word: &str) -> bool {
    let ends_with = |mark: &str| {
        let tail = before.len().checked_sub(mark.len()).and_then(|start| before.get(start..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(mark))
    };
    MARKS.iter().any(|mark| ends_with(mark))
        // `project` is also a plain word: only a number after it is an id.
        || (ends_with("project ") && word.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d177_keys_and_accounts_are_taken_out_and_words_stay() {
        for (said, passed) in [
            ("Your account org-0a1B2c <ak-f9e8d7c6> is suspended", "Your account [redacted] <[redacted]> is suspended"),
            ("Incorrect API key provided: sk-proj-****abcd.", "Incorrect API key provided: [redacted]."),
            ("bad header 'Bearer abcdefghij'", "bad header 'Bearer [redacted]'"),
            ("a user-defined tool, organisation-wide; task-1234", "a user-defined tool, organisation-wide; task-1234"),
            (
                "model gpt-4o in organization org-REDACTED on tokens",
                "model gpt-4o in organization [redacted] on tokens",
            ),
            (
                "org (0e2a9a4c-1c2d-4e5f-8a9b-0123456789ab), key sk-ant-api03-abcDEF_123: slow down, user_location",
                "org ([redacted]), key [redacted]: slow down, user_location",
            ),
            (
                "Consumer 'projects/my-team-123' with key AIzaSyD-abc_1 (https://x/?key=secret&project=42): API was not \
                 used in project 8123 before; the project is new. project_number:99",
                "Consumer 'projects/[redacted]' with key [redacted] (https://x/?key=[redacted]&project=[redacted]): API was not \
                 used in project [redacted] before; the project is new. project_number:[redacted]",
            ),
            (
                "prompt is too long: 214,000 tokens > 200,000 maximum... try less",
                "prompt is too long: 214,000 tokens > 200,000 maximum... try less",
            ),
            ("... and so on ...", "... and so on ..."),
            (" \n", "the provider gave no reason"),
        ] {
            assert_eq!(scrub(said), passed);
        }
    }

    #[test]
    fn only_names_are_names() {
        for text in ["invalid_value", "messages[3].content", "insufficient-quota"] {
            assert_eq!(name(text), Some(text));
        }
        for text in ["what is the capital of Chile?", &"a".repeat(65), "no\nname"] {
            assert_eq!(name(text), None);
        }
    }

    #[test]
    fn a_known_secret_is_taken_out_whatever_it_looks_like() {
        assert_eq!(without("wrong key: my-key/1 (my-key/1)", "my-key/1"), "wrong key: [redacted] ([redacted])");
        assert_eq!(without("not any model", "any"), "not any model");
    }

    #[test]
    fn a_message_has_a_bound() {
        assert!(scrub(&"é".repeat(5_000)).len() <= MAX_BYTES + 3);
        assert!(scrub(&"word ".repeat(5_000)).len() <= MAX_BYTES + 3);
    }
}
