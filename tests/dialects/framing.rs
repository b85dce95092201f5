//! The framing of every recorded stream: wherever the network cuts it, the same events come out.

use aipipe::upstream::sse::{RawEvent, SseDecoder};
use bytes::Bytes;

use crate::recordings::{self, events};

const DIALECTS: [&str; 4] = ["openai-chat", "openai-responses", "anthropic-messages", "gemini"];

/// Every recorded stream.
fn streams() -> Vec<(String, String)> {
    let exchanges = DIALECTS.iter().filter_map(|dialect| recordings::exchanges(dialect)).flatten();
    exchanges.filter_map(|exchange| Some((exchange.name, exchange.stream?))).collect()
}

fn told(events: &[RawEvent]) -> Vec<(&str, &str, bool)> {
    events.iter().map(|event| (event.name(), event.data(), event.is_comment())).collect()
}

/// Longer events are cut where it matters: between two plain bytes of one line nothing changes from border to border.
const CUT_EVERYWHERE: usize = 80;

/// The borders of an event at which it is cut alone.
fn borders(raw: &[u8]) -> impl Iterator<Item = usize> {
    let is_plain = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii() && !byte.is_ascii_control());
    (0..=raw.len()).filter(move |&at| {
        let is_inner = at > CUT_EVERYWHERE / 2 && at + CUT_EVERYWHERE / 2 < raw.len();
        !is_inner || !is_plain(raw.get(at)) || !is_plain(at.checked_sub(1).and_then(|before| raw.get(before)))
    })
}

#[test]
fn d159_every_recorded_stream_reads_the_same_wherever_it_is_cut() {
    let streams = streams();
    let mut cuts = 0;
    for (name, stream) in &streams {
        let bytes = stream.as_bytes();
        let whole = events([bytes]);
        // Every border at once.
        assert_eq!(events(bytes.chunks(1)), whole, "{name}");
        let passed: Vec<u8> = whole.iter().flat_map(|event| event.raw().to_vec()).collect();
        assert!(passed.starts_with(bytes), "{name}: bytes were lost");
        // Each border alone. Of an event that has ended nothing is left but, after CR, the wait for its LF.
        let mut before = Bytes::new();
        for event in &whole {
            let raw = event.raw().clone();
            for at in borders(&raw) {
                let mut decoder = SseDecoder::default();
                let mut read = Vec::new();
                for piece in [before.clone(), raw.slice(..at), raw.slice(at..)] {
                    decoder.feed(piece, &mut read).unwrap();
                }
                read.extend(decoder.finish().unwrap());
                assert_eq!(read.last(), Some(event), "{name} at {at}");
                assert_eq!(read.len(), 1 + usize::from(!before.is_empty()), "{name} at {at}");
                cuts += 1;
            }
            // How it ended is all that is carried over.
            let end = raw.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
            before = [b"data: x", &raw[end..]].concat().into();
        }
    }
    println!("{} recorded streams cut at {cuts} borders", streams.len());
}

#[test]
fn d158_every_recorded_stream_reads_the_same_however_its_lines_end() {
    for (name, stream) in streams() {
        let stream = stream.replace("\r\n", "\n");
        let expected = events([stream.as_bytes()]);
        for spelled in [
            stream.replace('\n', "\r\n"),
            stream.replace('\n', "\r"),
            format!("\u{feff}{stream}"),
            stream.replace("data: ", "data:"),
            stream.replace("data: ", "id: 1\nretry: 5\ndata: "),
            stream.trim_end().to_owned(),
        ] {
            let read = events([spelled.as_bytes()]);
            // A space after the colon belongs to the field's frame, one more to its value.
            assert_eq!(told(&read), told(&expected), "{name}: {:?}", spelled.get(..60));
        }
    }
}
