//! The place of a span in its trace, as W3C Trace Context carries it over HTTP (<https://www.w3.org/TR/trace-context/>).

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest `tracestate` that goes on: what the specification says must be carried.
const MAX_STATE_BYTES: usize = 512;

/// The id of a span; never zero.
pub type SpanId = [u8; 8];

/// Which span of which trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceContext {
    pub(super) trace: [u8; 16],
    pub(super) span: SpanId,
    /// Whether the spans of the trace are kept.
    pub(super) is_sampled: bool,
    /// What tracing systems add for themselves, as it came.
    pub(super) state: Option<HeaderValue>,
}

impl TraceContext {
    /// The caller's span; `None` where it sent none, or one that cannot be read.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (parent, None) = (parents.next()?.to_str().ok()?, parents.next()) else { return None };
        Some(Self { state: state(headers), ..Self::parse(parent)? })
    }

    /// `00-<32 digits>-<16 digits>-<2 digits>`; versions to come may add to the end.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let [version] = hex(fields.next()?)?;
        let (trace, span, [flags]) = (hex(fields.next()?)?, hex(fields.next()?)?, hex(fields.next()?)?);
        let is_known = version != 0xff && (version > 0 || fields.next().is_none());
        let is_whole = trace != [0; 16] && span != SpanId::default();
        (is_known && is_whole).then_some(Self { trace, span, is_sampled: flags & 1 == 1, state: None })
    }

    /// Tells another process that this span called it.
    pub(super) fn put_into(&self, headers: &mut HeaderMap) {
        let flags = u8::from(self.is_sampled);
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        // Only hexadecimal digits and dashes, which any header may hold.
        let Ok(parent) = HeaderValue::try_from(format!("00-{trace:032x}-{span:016x}-{flags:02x}")) else { return };
        headers.insert(TRACEPARENT, parent);
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

/// The lists of all `tracestate` headers as one; `None` where there is none or it is too long.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let lists = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>().ok()?;
    let state = lists.join(",");
    (!state.is_empty() && state.len() <= MAX_STATE_BYTES).then(|| HeaderValue::try_from(state).ok()).flatten()
}

/// Exactly this many bytes in lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_came_goes_on_as_it_was() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let came = headers(&[("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2,c=3")]);
        let context = TraceContext::from_headers(&came).unwrap();
        let mut sent = HeaderMap::new();
        context.put_into(&mut sent);
        assert_eq!(sent, headers(&[("traceparent", parent), ("tracestate", "a=1,b=2,c=3")]));
    }

    #[test]
    fn a_parent_is_read_as_the_specification_has_it() {
        for (parent, sampled) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", Some(false)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", Some(true)),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future", Some(true)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", None),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", None),
            ("", None),
        ] {
            assert_eq!(TraceContext::parse(parent).map(|context| context.is_sampled), sampled, "{parent}");
        }
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceContext::from_headers(&headers(&[("traceparent", parent), ("traceparent", parent)])), None);
    }
}
