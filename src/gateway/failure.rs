//! An attempt that failed: its class, what the provider said, and what to tell the client.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::Model;
use aipipe_actors::fault::{Fault, LONGEST_COOL_DOWN};
use http::StatusCode;
use secrecy::SecretString;

use crate::dialects::translate::{Malformed, ProviderError};
use crate::upstream::classify;
use crate::upstream::client::Broken;

/// What went wrong with one upstream call.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The model that was asked.
    pub model: Arc<Model>,
    /// Its class.
    pub fault: Fault,
    /// The provider's HTTP status, where it gave one.
    pub status: Option<StatusCode>,
    /// The provider's own code.
    pub code: Option<String>,
    /// What went wrong, without content or secrets.
    pub message: String,
    /// The field that the provider says is at fault.
    pub param: Option<String>,
    /// How long the provider asks to wait, within what one may impose.
    pub retry_after: Option<Duration>,
}

impl Failure {
    fn new(model: &Arc<Model>, fault: Fault, message: impl Into<String>) -> Self {
        Self {
            model: model.clone(),
            fault,
            status: None,
            code: None,
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    /// The provider said no to a call with this key, which it may repeat: then nobody is told that.
    pub fn refused(model: &Arc<Model>, error: ProviderError, key: Option<&SecretString>) -> Self {
        let error = error.without(key);
        let fault = classify::provider_error(&error);
        let ProviderError { status, code, message, param, retry_after } = error;
        let retry_after = retry_after.map(|wait| wait.min(LONGEST_COOL_DOWN));
        Self { model: model.clone(), fault, status: Some(status), code, message, param, retry_after }
    }

    /// The connection failed.
    pub fn broken(model: &Arc<Model>, broken: Broken) -> Self {
        Self::new(model, broken.fault, broken.message)
    }

    /// What came is no answer.
    pub fn malformed(model: &Arc<Model>, malformed: Malformed) -> Self {
        Self::new(model, Fault::Malformed, malformed.0)
    }

    /// Nothing came in time.
    pub fn silent(model: &Arc<Model>, waited: Duration) -> Self {
        Self::new(model, Fault::Silent, format!("nothing came within {} ms", waited.as_millis()))
    }

    /// Nothing came within its share of the request's time.
    pub fn late(model: &Arc<Model>, waited: Duration) -> Self {
        Self::new(
            model,
            Fault::Late,
            format!("nothing came within {} ms, its share of the request's time", waited.as_millis()),
        )
    }

    /// The stream fell silent after its first content.
    pub fn stalled(model: &Arc<Model>, waited: Duration) -> Self {
        Self::new(model, Fault::Stalled, format!("the stream was silent for {} ms", waited.as_millis()))
    }

    /// The request's own time was up.
    pub fn out_of_time(model: &Arc<Model>) -> Self {
        Self::new(model, Fault::ClientDeadline, "the time for this request is up")
    }

    /// The connection closed properly, but before the answer's end.
    pub fn ended_early(model: &Arc<Model>, malformed: Malformed) -> Self {
        Self::new(model, Fault::Broken, malformed.0)
    }

    /// The client's status of a fault that is its own.
    pub(super) fn client_status(&self) -> StatusCode {
        self.status.filter(StatusCode::is_client_error).unwrap_or(StatusCode::BAD_REQUEST)
    }

    /// The message for the log and the operator: a refusal of the request itself may quote it, and is told to its client alone.
    pub fn noted(&self) -> &str {
        if self.is_about_the_request() { "the provider refused the request itself" } else { &self.message }
    }

    /// Whether the provider refuses what the client asks, so that the client is told in the provider's words.
    pub fn is_about_the_request(&self) -> bool {
        matches!(self.fault, Fault::Request | Fault::ContextLength | Fault::ContentPolicy)
    }
}

/// What the class means, for the client.
pub(super) fn explanation(fault: Fault) -> &'static str {
    match fault {
        Fault::Key => "the provider refuses the key that AiPipe has for it; the operator or tenant must replace it",
        Fault::Quota => "the account behind the key that AiPipe has for the provider is out of money or quota",
        Fault::RateLimited => "the provider's rate limit for this key is reached",
        Fault::Overloaded => "the provider says that it is overloaded",
        Fault::Upstream => "the provider failed",
        Fault::Unreachable => "the provider cannot be reached",
        Fault::Broken => "the connection broke before the answer's end",
        Fault::Silent => "the provider did not answer in time",
        Fault::Stalled => "the answer stalled",
        Fault::Malformed => "the provider sent what is no answer",
        Fault::ClientDeadline | Fault::Late => "no answer in time",
        Fault::ModelMissing => "the provider does not serve this model",
        Fault::Shortage => "the gateway's machine has no file descriptor, port or memory left for a connection",
        Fault::Request | Fault::ContextLength | Fault::ContentPolicy | Fault::ClientGone | Fault::Outrun => "refused",
    }
}
