//! What a client is told when it gets no answer: one type, made here from every cause, shaped by the client's dialect elsewhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use aipipe_actors::fault::Fault;
use aipipe_actors::identity::ProviderId;
use aipipe_actors::routing::decision::{Decision, Reason};
use aipipe_actors::routing::digest::Requested;
use aipipe_actors::tenant::account::{LimitReached, OverBudget};
use aipipe_actors::tenant::flight::SharedRefusal;
use http::StatusCode;

use super::failure::{Failure, explanation};
use super::tenants::TenantError;
use crate::dialects::translate::{ClientError, InvalidRequest};

/// How long to wait where nothing says better: about as long as a circuit or a full queue takes to change.
const USUAL_WAIT: Duration = Duration::from_secs(1);

/// Why a request gets no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code: AiPipe's own, or the provider's where its refusal is passed on.
    pub code: Cow<'static, str>,
    /// What was wrong and what to do.
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without a field and without a time to try again.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: Cow::Borrowed(code), message: message.into(), param: None, retry_after: None }
    }

    /// A request that breaks the rules.
    pub fn invalid(param: Option<&str>, message: impl Into<String>) -> Self {
        Self { param: param.map(str::to_owned), ..Self::new(StatusCode::BAD_REQUEST, "invalid_request", message) }
    }

    /// The server is about to end.
    pub fn draining() -> Self {
        let message = "the gateway is shutting down; send the request again, to another instance if there is one";
        Self { retry_after: Some(USUAL_WAIT), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", message) }
    }

    /// A body beyond the limit.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes (limits.max_body_bytes)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    }

    /// More messages of the tenant wait than may.
    pub fn tenant_overloaded() -> Self {
        let message = "too many requests of this tenant are waiting to be routed; slow down and try again";
        Self { retry_after: Some(USUAL_WAIT), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "tenant_overloaded", message) }
    }

    /// The gateway itself has no room for one more request.
    pub fn overloaded(why: &str) -> Self {
        let message = format!("the gateway is at its limit: {why}; try again after the wait told");
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "gateway_overloaded", message);
        Self { retry_after: Some(USUAL_WAIT), ..refusal }
    }

    /// Nobody decides at the moment, or no provider may be called.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable", message);
        Self { retry_after: Some(USUAL_WAIT), ..refusal }
    }

    /// The request's own deadline passed before an answer.
    pub fn timed_out() -> Self {
        let message = "no answer within the time for this request (its timeout_ms or reliability.total_timeout_ms)";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message)
    }

    /// The ledger cannot be written, and nothing is sent upstream without a row.
    pub fn ledger() -> Self {
        let message = "the request could not be written to the ledger, so it was not sent; the operator's log says why";
        Self {
            retry_after: Some(USUAL_WAIT),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", message)
        }
    }

    /// A limit of the tenant.
    pub fn limited(reached: LimitReached) -> Self {
        let message = format!("the tenant's limit {} is reached; try again after the wait told", reached.limit);
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        Self { retry_after: Some(reached.retry_after), ..refusal }
    }

    /// The tenant's budget.
    pub fn over_budget(over: &OverBudget) -> Self {
        let OverBudget { spent, held, limit, needed, resets_at } = over;
        let message = format!(
            "the tenant's budget does not cover this request: {spent} USD spent, {held} USD held for requests in flight, \
             {needed} USD needed at most, of {limit} USD until {resets_at}"
        );
        Self::new(StatusCode::PAYMENT_REQUIRED, "budget_exceeded", message)
    }

    /// No model can serve; the decision says why for each.
    pub fn no_candidate(decision: &Decision, requested: &Requested) -> Self {
        let reasons = || decision.candidates.iter().filter_map(|candidate| candidate.reason.clone());
        let named = !matches!(requested, Requested::Auto);
        if named && decision.candidates.is_empty() {
            let message = format!(
                "there is no model {:?}; GET /v1/models lists what can be asked for, and \"auto\" lets AiPipe choose",
                decision.requested
            );
            return Self {
                param: Some("model".into()),
                ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message)
            };
        }
        if named && reasons().all(|reason| reason == Reason::NotAllowed) {
            let message = format!("this tenant may not use the model {:?}", decision.requested);
            return Self {
                param: Some("model".into()),
                ..Self::new(StatusCode::FORBIDDEN, "model_not_allowed", message)
            };
        }
        let passing =
            |reason: &Reason| matches!(reason, Reason::CircuitOpen | Reason::Overloaded | Reason::CoolingDown);
        if reasons().any(|reason| passing(&reason)) {
            return Self::unreachable(decision);
        }
        let listed = list_by_reason(decision);
        let mut parameters =
            reasons().filter_map(|reason| reason.name().strip_prefix("capability:").map(str::to_owned));
        let param = parameters.next().filter(|first| parameters.all(|other| other == *first));
        let message = match decision.candidates.is_empty() {
            true => "the catalogue has no model that this request lets AiPipe choose from; GET /v1/models lists those it has"
                .to_owned(),
            false => format!("no reachable model can serve this request: {listed}"),
        };
        Self { param, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_candidate", message) }
    }

    /// Every model that could serve is out of reach for the moment.
    pub fn unreachable(decision: &Decision) -> Self {
        let listed = list_by_reason(decision);
        Self::unavailable(format!("every model that could serve this is out of reach for the moment: {listed}"))
    }

    /// The provider refused the tenant's key, or this use of it, a short while ago and is not asked again yet: the client is told what it
    /// would be told if it were.
    pub fn cooling(provider: &ProviderId, fault: Fault) -> Self {
        let consequence = fault.consequence();
        let status = consequence.status.and_then(|status| StatusCode::from_u16(status).ok());
        let message = format!("{provider}: {}; AiPipe asks it again after the wait told", explanation(fault));
        match (status, consequence.code) {
            (Some(status), Some(code)) => Self::new(status, code, message),
            _ => Self::new(StatusCode::NOT_FOUND, "model_not_found", message),
        }
    }

    /// The tenant cannot be served.
    pub fn tenant(error: &TenantError) -> Self {
        match error {
            TenantError::Unknown => Self::new(
                StatusCode::FORBIDDEN,
                "unknown_tenant",
                "there is no tenant of this name; the operator creates it with PUT /admin/tenants/{id}",
            ),
            TenantError::TooMany => Self::overloaded("too many tenants are active"),
            TenantError::Store(error) => {
                tracing::error!(%error, "a tenant cannot be loaded");
                Self::unavailable("the tenant cannot be loaded; the operator's log says why")
            }
        }
    }

    /// What came of the last attempt, when nothing else can be tried.
    pub fn failed(failure: &Failure) -> Self {
        let consequence = failure.fault.consequence();
        let status = consequence.status.and_then(|status| StatusCode::from_u16(status).ok());
        let provider = failure.model.provider.as_str();
        let passes = matches!(status, Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE));
        let retry_after = passes.then(|| failure.retry_after.unwrap_or(USUAL_WAIT));
        match (status, consequence.code) {
            (Some(status), Some(code)) => Self {
                retry_after,
                ..Self::new(status, code, format!("{provider}: {}: {}", explanation(failure.fault), failure.message))
            },
            // The client's own fault, in the provider's words; where clients act on the code, by the code that they know.
            _ => Self {
                status: failure.client_status(),
                code: match (consequence.code, &failure.code) {
                    (Some(code), _) => Cow::Borrowed(code),
                    (None, Some(own)) => Cow::Owned(own.clone()),
                    (None, None) => Cow::Borrowed("invalid_request"),
                },
                message: failure.message.clone(),
                param: failure.param.clone(),
                retry_after: None,
            },
        }
    }

    /// The error in the terms of the dialects.
    pub fn as_client_error(&self) -> ClientError<'_> {
        ClientError { status: self.status, code: &self.code, message: &self.message, param: self.param.as_deref() }
    }

    /// The refusal as others who ask the same can be told of it.
    pub fn shared(&self) -> SharedRefusal {
        SharedRefusal {
            status: self.status.as_u16(),
            code: self.code.clone().into_owned(),
            message: self.message.clone(),
            param: self.param.clone(),
        }
    }
}

impl From<InvalidRequest> for Refusal {
    fn from(invalid: InvalidRequest) -> Self {
        Self::invalid(invalid.param.as_deref(), invalid.message)
    }
}

impl From<&SharedRefusal> for Refusal {
    fn from(shared: &SharedRefusal) -> Self {
        Self {
            status: StatusCode::from_u16(shared.status).unwrap_or(StatusCode::BAD_GATEWAY),
            code: Cow::Owned(shared.code.clone()),
            message: shared.message.clone(),
            param: shared.param.clone(),
            retry_after: None,
        }
    }
}

/// `no_key: anthropic/a, anthropic/b; context_length: openai/c`.
fn list_by_reason(decision: &Decision) -> String {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for candidate in &decision.candidates {
        let Some(reason) = &candidate.reason else { continue };
        groups.entry(reason.name()).or_default().push(format!("{}/{}", candidate.provider, candidate.model));
    }
    let groups: Vec<String> =
        groups.into_iter().map(|(reason, models)| format!("{reason}: {}", models.join(", "))).collect();
    groups.join("; ")
}
