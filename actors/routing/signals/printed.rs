//! Lines that a program printed: tables of commands, panics, compilers' messages, listings of files.

use memchr::{memchr_iter, memmem};

/// Beginnings of lines that a program wrote as it failed, or a compiler of what it read.
const BEGINNINGS: [&str; 24] = [
    "thread '",
    "note: ",
    "stack backtrace:",
    "error[E",
    "error: ",
    "warning: ",
    "= note: ",
    "= help: ",
    "= warning: ",
    "--> ",
    "panic: ",
    "fatal error: ",
    "fatal: ",
    "npm ERR!",
    "npm error",
    "make: ",
    "make[",
    "collect2: ",
    "ld: ",
    "FAILED ",
    "PASSED ",
    "---> ",
    "Segmentation fault",
    "exit status ",
];
/// Columns from which on a line is the row of a table.
const COLUMNS: usize = 3;
/// Most words in a column of a table, on average.
const MOST_IN_COLUMN: usize = 4;
/// Words in capitals that make a line the head of a table.
const HEADINGS: usize = 3;

/// Whether a line, without the spaces around it, was printed and not written by somebody.
pub(super) fn is_printed(bare: &str) -> bool {
    let message = BEGINNINGS.iter().any(|beginning| bare.starts_with(beginning)) && !bare.ends_with('?');
    message || is_frame(bare) || is_located(bare) || is_ruled(bare) || is_listed(bare) || is_row(bare)
}

/// A frame of a backtrace (`12: core::panicking::panic_fmt`) or a quoted line of source (`10 | let x`).
fn is_frame(bare: &str) -> bool {
    let digits = bare.bytes().take_while(u8::is_ascii_digit).count();
    let rest = bare.get(digits..).unwrap_or_default();
    let frame = rest.starts_with(": ") && (rest.contains("::") || rest.contains("0x"));
    (digits > 0 && (frame || rest.starts_with(" | "))) || bare == "|" || bare.starts_with("| ^") || is_at(bare)
}

/// `at ./src/main.rs:12:5`
fn is_at(bare: &str) -> bool {
    bare.strip_prefix("at ").is_some_and(|place| !place.contains(' ') && place.contains(['/', ':']))
}

/// `src/main.c:12:5: error: …`: a place in a file first.
fn is_located(bare: &str) -> bool {
    let mut parts = bare.splitn(3, ':');
    let (Some(file), Some(line), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let named = file.contains(['.', '/']) && !file.contains(' ') && !file.starts_with("http");
    named && !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// A rule of a table: `+----+-----+`, `====`.
fn is_ruled(bare: &str) -> bool {
    bare.len() >= 4 && bare.bytes().all(|byte| matches!(byte, b'+' | b'-' | b'=' | b'|' | b' '))
}

/// A line of `ls -l` (`-rw-r--r-- 1 …`) or one behind a prompt (`$ kubectl get pods`).
fn is_listed(bare: &str) -> bool {
    let mode = bare.split(' ').next().unwrap_or_default().as_bytes();
    let listed = matches!(mode, [b'-' | b'd' | b'l', rest @ ..] if rest.len() >= 9 && rest.iter().all(|byte| matches!(byte, b'r' | b'w' | b'x' | b's' | b't' | b'-' | b'.' | b'+')));
    let prompt = bare.strip_prefix("$ ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        && bare.bytes().filter(|&byte| byte == b'$').count() == 1;
    listed || prompt
}

/// A row of columns that stand apart by tabs or several spaces, their head in capitals, or comma-separated values.
fn is_row(bare: &str) -> bool {
    let gaps = gaps_in(bare.as_bytes());
    let commas = memchr_iter(b',', bare.as_bytes()).count();
    let may_be_values = commas >= COLUMNS && !bare.contains(", ");
    if gaps == 0 && !may_be_values {
        return false;
    }
    let (mut headings, mut words) = (0, 0);
    for word in bare.split_ascii_whitespace() {
        words += 1;
        let capitals = word.bytes().filter(u8::is_ascii_uppercase).count();
        headings += usize::from(capitals >= 2 && !word.bytes().any(|byte| byte.is_ascii_lowercase()));
    }
    // After a full stop some put two spaces, and some put them anywhere in prose.
    let sentences = || bare.matches(".  ").count() + bare.matches("?  ").count();
    if gaps + 1 >= COLUMNS
        && words <= MOST_IN_COLUMN * (gaps + 1)
        && !bare.ends_with('?')
        && gaps.saturating_sub(sentences()) + 1 >= COLUMNS
    {
        return true;
    }
    let head = gaps > 0 && headings >= HEADINGS && headings * 2 > words;
    let values = may_be_values && words <= 2 * commas && bare.bytes().any(|byte| byte.is_ascii_digit());
    head || values
}

/// How many tabs and runs of several spaces there are.
fn gaps_in(line: &[u8]) -> usize {
    let tabs = memchr_iter(b'\t', line).count();
    // A pair of spaces that begins where the last one ended is of the same run.
    let mut end = usize::MAX;
    let runs = memmem::find_iter(line, b"  ").filter(|&at| std::mem::replace(&mut end, at + 2) != at);
    tabs + runs.count()
}

#[cfg(test)]
mod tests {
    use super::is_printed;

    #[test]
    fn what_programs_print_is_told_from_what_people_write() {
        for line in [
            "NAME                    READY   STATUS    RESTARTS   AGE",
            "api-7d4b9c-x2x1z        1/1     Running   4          3d",
            "root         1  0.0  0.1 167744 11380 ?        Ss   Mar01   0:05 /sbin/init",
            "/dev/sda1        98G   91G  2.1G  98% /",
            "-rw-r--r-- 1 ann staff 2048 Jan  3 10:00 notes.txt",
            "thread 'main' panicked at src/main.rs:12:5:",
            "12: core::panicking::panic_fmt",
            "at ./src/main.rs:12:5",
            "error[E0382]: borrow of moved value: `x`",
            "--> src/lib.rs:3:9",
            "src/a.c:12:5: error: expected ';'",
            "+----+-------+",
            "$ kubectl get pods",
            "2024-01-03,Ann,12,3.50",
        ] {
            assert!(is_printed(line), "{line}");
        }
        for line in [
            "Why does the pod restart?",
            "I have 3 apples, 4 pears, and 5 plums.",
            "It rained.  We stayed.  Then we left.",
            "At the station we met Ann.",
            "Let $n$ be even and $m$ odd.",
            "What does error[E0382] mean?",
            "10: the number of pages",
            "A,B,C or D",
        ] {
            assert!(!is_printed(line), "{line}");
        }
    }
}
