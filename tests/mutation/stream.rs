//! Spoils streams of server-sent events: events missing, doubled, of other streams, with spoilt data, cut off and cut anywhere.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::json::Spoiling;

/// What is done to a stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamSpoiling {
    steps: Vec<(Index, Step)>,
    /// How its lines end.
    line_end: &'static str,
    /// Where it breaks off; `None`: nowhere.
    end: Option<Index>,
    /// Where the network cuts it.
    cuts: Vec<Index>,
}

/// What becomes of the event at a place.
#[derive(Debug, Clone)]
enum Step {
    Drop,
    Repeat(usize),
    SwapWithNext,
    /// One of another stream goes before it.
    Insert(Index, Index),
    Data(Spoiling, Index),
    Name(&'static str),
    SplitData,
    Comment,
}

impl StreamSpoiling {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let name =
            prop::sample::select(vec!["", "error", "ping", "message_stop", "message_start", "response.completed"]);
        let step = prop_oneof![
            1 => Just(Step::Drop),
            1 => (2_usize..40).prop_map(Step::Repeat),
            1 => Just(Step::SwapWithNext),
            2 => any::<(Index, Index)>().prop_map(|(stream, event)| Step::Insert(stream, event)),
            5 => (Spoiling::any(), any::<Index>()).prop_map(|(spoiling, donor)| Step::Data(spoiling, donor)),
            1 => name.prop_map(Step::Name),
            1 => Just(Step::SplitData),
            1 => Just(Step::Comment),
        ];
        let steps = prop::collection::vec((any::<Index>(), step), 0..4);
        let line_end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
        let end = prop::option::weighted(0.2, any::<Index>());
        (steps, line_end, end, prop::collection::vec(any::<Index>(), 0..4))
            .prop_map(|(steps, line_end, end, cuts)| Self { steps, line_end, end, cuts })
    }

    /// The bytes as the network brings them.
    pub(crate) fn spoil(&self, stream: &str, all: &[String]) -> Vec<Bytes> {
        let mut events = events_of(stream);
        for (place, step) in &self.steps {
            if events.is_empty() {
                break;
            }
            let at = place.index(events.len());
            match step {
                Step::Drop => drop(events.remove(at)),
                Step::Repeat(times) => drop(events.splice(at..at, vec![events[at].clone(); *times])),
                Step::SwapWithNext => {
                    let next = (at + 1) % events.len();
                    events.swap(at, next);
                }
                Step::Insert(from, which) => {
                    let donors = events_of(&all[from.index(all.len())]);
                    events.insert(at, which.get(&donors).clone());
                }
                Step::Data(spoiling, donor) => {
                    let donor = data_of(&events[donor.index(events.len())]);
                    let spoilt = spoiling.spoil(&data_of(&events[at]), &donor);
                    let lines = events[at].split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"data"));
                    let spoilt = [b"data: ".as_slice(), &spoilt].concat();
                    events[at] = lines.chain([spoilt.as_slice()]).collect::<Vec<_>>().join(b"\n".as_slice());
                }
                Step::Name(name) => events[at] = [b"event: ", name.as_bytes(), b"\n", &events[at]].concat(),
                Step::SplitData => {
                    let text = String::from_utf8_lossy(&events[at]).replacen(',', ",\ndata: ", 1);
                    events[at] = text.into_bytes();
                }
                Step::Comment => events[at] = [b": alive\n\n", events[at].as_slice()].concat(),
            }
        }
        let mut bytes = Vec::new();
        for event in &events {
            for line in event.split(|&byte| byte == b'\n') {
                bytes.extend_from_slice(line);
                bytes.extend_from_slice(self.line_end.as_bytes());
            }
            bytes.extend_from_slice(self.line_end.as_bytes());
        }
        bytes.truncate(self.end.map_or(bytes.len(), |end| end.index(bytes.len().max(1))));
        let mut cuts: Vec<usize> = self.cuts.iter().map(|cut| cut.index(bytes.len().max(1))).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        starts.zip(ends).map(|(start, end)| Bytes::copy_from_slice(&bytes[start..end])).collect()
    }
}

/// The lines of each event.
fn events_of(stream: &str) -> Vec<Vec<u8>> {
    let stream = stream.replace("\r\n", "\n");
    let events = stream.split("\n\n").map(|event| event.trim_matches('\n').as_bytes().to_vec());
    events.filter(|event| !event.is_empty()).collect()
}

/// The data of an event, where it is JSON on one line.
fn data_of(event: &[u8]) -> Value {
    let lines = event.split(|&byte| byte == b'\n');
    let data = lines.filter_map(|line| line.strip_prefix(b"data:")).find_map(|data| serde_json::from_slice(data).ok());
    data.unwrap_or_default()
}
