//! Whose fault a failure is, and what follows from that: one table.
//!
//! The class of a failure decides whether the same model is tried again, whether another candidate is, whether the model's health
//! suffers, what the tenant's key must wait for, and which status and code the client gets when nothing else could serve.

use std::time::Duration;

/// A class of failure of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The provider refuses the request itself: the client's own 4xx.
    Request,
    /// The prompt does not fit this model.
    ContextLength,
    /// The provider's moderation refuses the content.
    ContentPolicy,
    /// The provider does not serve this model (to this key).
    ModelMissing,
    /// The provider refuses the key: wrong, without permission.
    Key,
    /// The key's account is out of money or quota.
    Quota,
    /// Too many requests for this key and model.
    RateLimited,
    /// The provider says that it is overloaded.
    Overloaded,
    /// The provider failed: a 5xx.
    Upstream,
    /// No connection could be made.
    Unreachable,
    /// The connection broke before the answer's end.
    Broken,
    /// No first byte, or no first content of a stream, in time.
    Silent,
    /// Silence within a stream, after its first content.
    Stalled,
    /// An answer that breaks the dialect's rules.
    Malformed,
    /// The request's own deadline came before the provider's.
    ClientDeadline,
    /// Nothing came within the share of the request's own time that one candidate gets, which is shorter than the provider's limit.
    Late,
    /// The client left.
    ClientGone,
    /// Another model's answer came first.
    Outrun,
    /// This machine has no descriptor, port or memory left for a connection.
    Shortage,
}

/// Whether the same model may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not.
    No,
    /// Once more after a short wait, when nothing else is as good.
    Once,
}

/// Who is tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failover {
    /// Nobody: no other candidate would do better.
    No,
    /// The next candidate.
    Model,
    /// The next candidate of another provider, since what failed is likely to fail with the provider's other models too; theirs come
    /// again when no other provider is left.
    Provider,
}

/// Whose health or key suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nobody's.
    Nobody,
    /// The model's at this provider: success rate, penalty, circuit.
    Model,
    /// The provider's as a whole: none of its models can be reached.
    Provider,
    /// This tenant's key at this provider, for a while.
    Key,
    /// This tenant's key for this model, for as long as the provider asks.
    KeyAndModel,
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consequence {
    /// Whether the same model is tried again.
    pub retry: Retry,
    /// Who is tried next.
    pub failover: Failover,
    /// Whose health suffers.
    pub blame: Blame,
    /// The client's status when nothing else could serve; `None`: the provider's own.
    pub status: Option<u16>,
    /// The client's code; `None`: the provider's own.
    pub code: Option<&'static str>,
}

impl Fault {
    /// The name in the ledger, the log and at the admin endpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::ContextLength => "context_length",
            Self::ContentPolicy => "content_policy",
            Self::ModelMissing => "model_missing",
            Self::Key => "key",
            Self::Quota => "quota",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Upstream => "upstream",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::Malformed => "malformed",
            Self::ClientDeadline => "client_deadline",
            Self::Late => "late",
            Self::ClientGone => "client_gone",
            Self::Outrun => "outrun",
            Self::Shortage => "shortage",
        }
    }

    /// Whether the provider itself said no, rather than that something broke: it bills nothing for that.
    pub fn is_told(self) -> bool {
        match self {
            Self::Request | Self::ContextLength | Self::ContentPolicy | Self::ModelMissing => true,
            Self::Key | Self::Quota | Self::RateLimited | Self::Overloaded | Self::Upstream => true,
            Self::Unreachable | Self::Broken | Self::Silent | Self::Stalled | Self::Malformed => false,
            Self::ClientDeadline | Self::Late | Self::ClientGone | Self::Outrun | Self::Shortage => false,
        }
    }

    /// The table.
    pub fn consequence(self) -> Consequence {
        use Blame::{Key, KeyAndModel, Model, Nobody, Provider};
        use Failover::{Model as Next, No as Stay, Provider as Elsewhere};
        use Retry::{No, Once};
        let (retry, failover, blame, status, code) = match self {
            Self::Request => (No, Next, Nobody, None, None),
            Self::ContextLength => (No, Next, Nobody, None, Some("context_length_exceeded")),
            Self::ContentPolicy => (No, Next, Nobody, None, None),
            Self::ModelMissing => (No, Next, KeyAndModel, None, None),
            Self::Key => (No, Elsewhere, Key, Some(502), Some("upstream_error")),
            Self::Quota => (No, Elsewhere, Key, Some(502), Some("upstream_error")),
            Self::RateLimited => (No, Next, KeyAndModel, Some(429), Some("rate_limited")),
            Self::Overloaded => (Once, Elsewhere, Model, Some(502), Some("upstream_error")),
            Self::Upstream => (Once, Elsewhere, Model, Some(502), Some("upstream_error")),
            Self::Unreachable => (Once, Elsewhere, Provider, Some(502), Some("upstream_error")),
            Self::Broken => (Once, Elsewhere, Model, Some(502), Some("upstream_malformed")),
            Self::Silent => (No, Elsewhere, Model, Some(504), Some("upstream_timeout")),
            Self::Stalled => (No, Stay, Model, Some(504), Some("upstream_timeout")),
            Self::Malformed => (No, Elsewhere, Model, Some(502), Some("upstream_malformed")),
            Self::ClientDeadline => (No, Stay, Nobody, Some(504), Some("upstream_timeout")),
            Self::Late => (No, Elsewhere, Nobody, Some(504), Some("upstream_timeout")),
            Self::Outrun => (No, Stay, Nobody, Some(504), Some("upstream_timeout")),
            Self::ClientGone => (No, Stay, Nobody, Some(499), Some("client_closed_request")),
            Self::Shortage => (Once, Next, Nobody, Some(503), Some("provider_unavailable")),
        };
        Consequence { retry, failover, blame, status, code }
    }
}

/// How long a key waits after a fault, where the provider does not say.
pub const KEY_COOL_DOWN: Duration = Duration::from_secs(30);
/// The longest wait that a provider can impose.
pub const LONGEST_COOL_DOWN: Duration = Duration::from_secs(600);

/// How long the tenant's key (for this model or for all) is left alone.
pub fn cool_down(fault: Fault, asked: Option<Duration>) -> Duration {
    let usual = match fault {
        Fault::RateLimited => Duration::from_secs(5),
        _ => KEY_COOL_DOWN,
    };
    asked.unwrap_or(usual).min(LONGEST_COOL_DOWN)
}
