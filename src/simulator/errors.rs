//! Each provider's own way to say no: status, body, headers, and error events in streams.
//!
//! Shapes and texts follow recorded or quoted answers of the providers where there are any.

use http::StatusCode;
use serde_json::{Value, json};

use super::json::Json;
use super::provider::Provider;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    NoKey,
    BadKey,
    OutOfMoney,
    Forbidden,
    NoSuchModel,
    NoSuchPath,
    TooLong,
    TooBig,
    RateLimited,
    Internal,
    Overloaded,
    TimedOut,
}

/// A request that is refused.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// The field at fault, where the provider names it.
    pub(crate) param: Option<String>,
    /// OpenAI's error code, where it is not that of the kind.
    pub(crate) code: Option<&'static str>,
    /// A status in place of the kind's usual one.
    pub(crate) status: Option<u16>,
    /// Seconds to wait.
    pub(crate) retry_after: Option<u64>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None, code: None, status: None, retry_after: None }
    }

    /// A request with the wrong shape.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// A request with the wrong shape, at a field that OpenAI names beside the message.
    pub(crate) fn at(param: impl Into<String>, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), code, ..Self::bad(message) }
    }

    /// What the provider says with a status; `model` is the one that was asked for.
    pub(crate) fn of_status(provider: Provider, status: u16, model: &str) -> Self {
        let kind = match status {
            401 => Kind::BadKey,
            402 => Kind::OutOfMoney,
            403 => Kind::Forbidden,
            404 => Kind::NoSuchModel,
            408 | 504 => Kind::TimedOut,
            413 => Kind::TooBig,
            429 => Kind::RateLimited,
            502 | 503 | 529 => Kind::Overloaded,
            500..=599 => Kind::Internal,
            _ => Kind::BadRequest,
        };
        Self { status: Some(status), ..Self::usual(provider, kind, model) }
    }

    /// The provider's usual words for a kind of failure.
    pub(crate) fn usual(provider: Provider, kind: Kind, model: &str) -> Self {
        use Provider::{Anthropic, Gemini, MiniMax, Moonshot, OpenAi, OpenRouter, Xai};
        let message = match (kind, provider) {
            (Kind::NoKey, OpenAi) => "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer \
                 auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from \
                 https://platform.openai.com/account/api-keys."
                .to_owned(),
            (Kind::NoKey, Anthropic) => "x-api-key header is required".to_owned(),
            (Kind::NoKey, Gemini) => "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or \
                 other form of API consumer identity to call this API."
                .to_owned(),
            (Kind::NoKey, OpenRouter) => "No auth credentials found".to_owned(),
            (Kind::BadKey, OpenAi) => "Incorrect API key provided: simulated. You can find your API key at \
                 https://platform.openai.com/account/api-keys."
                .to_owned(),
            (Kind::BadKey, Anthropic) => "invalid x-api-key".to_owned(),
            (Kind::BadKey, Gemini) => "API key not valid. Please pass a valid API key.".to_owned(),
            (Kind::BadKey, OpenRouter) => "User not found.".to_owned(),
            (Kind::BadKey | Kind::NoKey, Xai) => {
                "Incorrect API key provided. You can obtain an API key from https://console.x.ai.".to_owned()
            }
            (Kind::BadKey | Kind::NoKey, Moonshot) => "Invalid Authentication".to_owned(),
            (Kind::BadKey | Kind::NoKey, MiniMax) => {
                "login fail: Please carry the API secret key in the 'Authorization' field of the request header (1004)".to_owned()
            }
            (Kind::OutOfMoney, OpenAi | Gemini) => "You exceeded your current quota, please check your plan and billing details. For more \
                 information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
                .to_owned(),
            (Kind::OutOfMoney, Anthropic) => "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to \
                 upgrade or purchase credits."
                .to_owned(),
            (Kind::OutOfMoney, OpenRouter) => "Insufficient credits. Add more using https://openrouter.ai/settings/credits".to_owned(),
            (Kind::OutOfMoney, Moonshot) => "Your account org-S1mulated <ak-s1mulated> is suspended due to insufficient balance, please \
                 recharge your account or check your plan and billing details"
                .to_owned(),
            (Kind::OutOfMoney, MiniMax) => "insufficient balance (1008)".to_owned(),
            (Kind::OutOfMoney, Xai) => "Your team has used all available credits or reached its monthly spending limit.".to_owned(),
            (Kind::Forbidden, Gemini) => "The caller does not have permission".to_owned(),
            (Kind::Forbidden, MiniMax) => format!("your current token plan not support model, {model} (2061)"),
            (Kind::Forbidden, _) => "Your API key does not have permission to use the specified resource.".to_owned(),
            (Kind::NoSuchModel, OpenAi) => format!("The model `{model}` does not exist or you do not have access to it."),
            (Kind::NoSuchModel, Anthropic) => format!("model: {model}"),
            (Kind::NoSuchModel, Gemini) => format!(
                "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call \
                 ModelService.ListModels to see the list of available models and their supported methods."
            ),
            (Kind::NoSuchModel, OpenRouter) => format!("{model} is not a valid model ID"),
            (Kind::NoSuchModel, Xai) => format!("Model not found: {model}"),
            (Kind::NoSuchModel, Moonshot) => format!("Not found the model {model} or Permission denied"),
            (Kind::NoSuchModel, MiniMax) => format!("invalid params, unknown model '{}' (2013)", model.to_ascii_lowercase()),
            (Kind::TooLong, OpenAi) => "This model's maximum context length is 128000 tokens. However, your messages resulted in 250021 \
                 tokens. Please reduce the length of the messages."
                .to_owned(),
            (Kind::TooLong, Anthropic) => "prompt is too long: 250021 tokens > 200000 maximum".to_owned(),
            (Kind::TooLong, Gemini) => {
                "The input token count (1250021) exceeds the maximum number of tokens allowed (1048576).".to_owned()
            }
            (Kind::TooLong, OpenRouter) => "This endpoint's maximum context length is 200000 tokens. However, you requested about 250021 \
                 tokens (250021 of text input). Please reduce the length of either one, or use the context-compression plugin to compress \
                 your prompt automatically."
                .to_owned(),
            (Kind::TooLong, Xai) => {
                "This model's maximum prompt length is 131072 but the request contains 250021 tokens.".to_owned()
            }
            (Kind::TooLong, Moonshot) => {
                "Invalid request: Your request exceeded model token limit: 262144 (requested: 558009)".to_owned()
            }
            (Kind::TooLong, MiniMax) => "invalid params, context window exceeds limit (2013)".to_owned(),
            (Kind::RateLimited, OpenAi) => format!(
                "Rate limit reached for {model} in organization org-S1mulated on tokens per min (TPM): Limit 30000, Used 30000, Requested \
                 890. Please try again in 1.78s. Visit https://platform.openai.com/account/rate-limits to learn more."
            ),
            (Kind::RateLimited, Anthropic) => {
                "This request would exceed your organization's rate limit of 50 requests per minute.".to_owned()
            }
            (Kind::RateLimited, OpenRouter) => "Provider returned error".to_owned(),
            (Kind::RateLimited, Gemini) => "You exceeded your current quota, please check your plan.".to_owned(),
            (Kind::RateLimited, MiniMax) => "rate limit exceeded (1002)".to_owned(),
            (Kind::RateLimited, Moonshot | Xai) => {
                "Your account reached max request per minute, please try again after 1 seconds".to_owned()
            }
            (Kind::Overloaded, Anthropic) => "Overloaded".to_owned(),
            (Kind::Overloaded, Gemini) => "The model is overloaded. Please try again later.".to_owned(),
            (Kind::Overloaded, Moonshot) => "The engine is currently overloaded, please try again later".to_owned(),
            (Kind::Overloaded, _) => "The server is currently overloaded. Please try again later.".to_owned(),
            (Kind::Internal, Anthropic) => "Internal server error".to_owned(),
            (Kind::Internal, Gemini) => "An internal error has occurred. Please retry.".to_owned(),
            (Kind::Internal, _) => "The server had an error while processing your request. Sorry about that!".to_owned(),
            (Kind::TooBig, Anthropic) => "Request exceeds the maximum size".to_owned(),
            (Kind::TooBig, _) => "Request body too large.".to_owned(),
            (Kind::TimedOut, _) => "The request timed out.".to_owned(),
            (Kind::NoSuchPath, _) => "Not found".to_owned(),
            (Kind::BadRequest, _) => "The request is not valid.".to_owned(),
        };
        Self::new(kind, message)
    }

    /// The HTTP status that this provider sends.
    pub(crate) fn status(&self, provider: Provider) -> StatusCode {
        let usual = match (self.kind, provider) {
            (Kind::NoKey, Provider::Gemini) => 403,
            (Kind::NoKey | Kind::BadKey, Provider::Gemini | Provider::Xai) => 400,
            (Kind::NoKey | Kind::BadKey, _) => 401,
            (Kind::OutOfMoney, Provider::OpenAi | Provider::Moonshot | Provider::Gemini) => 429,
            (Kind::OutOfMoney, Provider::Anthropic) => 400,
            (Kind::OutOfMoney, Provider::Xai) => 403,
            (Kind::OutOfMoney, _) => 402,
            (Kind::Forbidden, _) => 403,
            (Kind::NoSuchModel, Provider::Xai | Provider::OpenRouter | Provider::MiniMax) => 400,
            (Kind::NoSuchModel | Kind::NoSuchPath, _) => 404,
            (Kind::TooBig, _) => 413,
            (Kind::RateLimited, _) => 429,
            (Kind::Internal, _) => 500,
            (Kind::Overloaded, Provider::Anthropic | Provider::MiniMax) => 529,
            (Kind::Overloaded, Provider::Moonshot) => 429,
            (Kind::Overloaded, _) => 503,
            (Kind::TimedOut, Provider::OpenRouter) => 408,
            (Kind::TimedOut, _) => 504,
            (Kind::BadRequest | Kind::TooLong, _) => 400,
        };
        StatusCode::from_u16(self.status.unwrap_or(usual)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body that this provider sends.
    pub(crate) fn body(&self, provider: Provider, request_id: &str) -> Value {
        let message = &self.message;
        match provider {
            Provider::OpenAi => {
                let (kind, code) = self.openai_words();
                json!({"error": {"message": message, "type": kind, "param": self.param, "code": self.code.or(code)}})
            }
            Provider::Anthropic => json!({
                "type": "error",
                "error": {"type": self.anthropic_type(), "message": message},
                "request_id": request_id,
            }),
            Provider::Gemini => self.google_body(),
            Provider::OpenRouter => {
                let mut error = json!({"message": message, "code": self.status(provider).as_u16()});
                if self.kind == Kind::RateLimited {
                    error.set(
                        "metadata",
                        json!({
                            "raw": "the model is temporarily rate-limited upstream. Please retry shortly.",
                            "provider_name": "Simulated",
                        }),
                    );
                }
                json!({"error": error, "user_id": "user_simulated"})
            }
            Provider::Xai => {
                let code = match self.kind {
                    Kind::RateLimited => "resource-exhausted",
                    Kind::OutOfMoney | Kind::Forbidden => "permission-denied",
                    Kind::Overloaded => "unavailable",
                    Kind::Internal => "internal",
                    Kind::NoSuchPath => "not-found",
                    _ => "invalid-argument",
                };
                json!({"code": code, "error": message})
            }
            Provider::Moonshot if self.kind == Kind::NoSuchPath => {
                json!({"code": 5, "error": "url.not_found", "message": "没找到对象", "scode": "0x5", "status": false})
            }
            Provider::Moonshot => json!({"error": {"message": message, "type": self.moonshot_type()}}),
            Provider::MiniMax => json!({
                "type": "error",
                "error": {
                    "type": self.minimax_type(),
                    "message": message,
                    "http_code": self.status(provider).as_u16().to_string(),
                },
                "request_id": request_id,
            }),
        }
    }

    /// `retry-after`, from providers that send it as a header. Gemini tells in the body alone.
    pub(crate) fn headers(&self, provider: Provider) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(seconds) = self.retry_after
            && provider != Provider::Gemini
        {
            headers.push(("retry-after", seconds.to_string()));
        }
        if provider == Provider::Anthropic {
            let retry = matches!(self.kind, Kind::RateLimited | Kind::Internal | Kind::Overloaded | Kind::TimedOut);
            headers.push(("x-should-retry", retry.to_string()));
        }
        headers
    }

    /// OpenAI's `type` and `code`.
    fn openai_words(&self) -> (&'static str, Option<&'static str>) {
        match self.kind {
            Kind::BadKey => ("invalid_request_error", Some("invalid_api_key")),
            Kind::OutOfMoney => ("insufficient_quota", Some("insufficient_quota")),
            Kind::NoSuchModel => ("invalid_request_error", Some("model_not_found")),
            Kind::TooLong => ("invalid_request_error", Some("context_length_exceeded")),
            Kind::RateLimited => ("tokens", Some("rate_limit_exceeded")),
            Kind::Internal | Kind::Overloaded | Kind::TimedOut => ("server_error", None),
            Kind::BadRequest | Kind::NoKey | Kind::Forbidden | Kind::NoSuchPath | Kind::TooBig => {
                ("invalid_request_error", None)
            }
        }
    }

    fn anthropic_type(&self) -> &'static str {
        match self.kind {
            Kind::NoKey | Kind::BadKey => "authentication_error",
            Kind::OutOfMoney if self.status == Some(402) => "billing_error",
            Kind::BadRequest | Kind::TooLong | Kind::OutOfMoney => "invalid_request_error",
            Kind::Forbidden => "permission_error",
            Kind::NoSuchModel | Kind::NoSuchPath => "not_found_error",
            Kind::TooBig => "request_too_large",
            Kind::RateLimited => "rate_limit_error",
            Kind::Internal => "api_error",
            Kind::Overloaded => "overloaded_error",
            Kind::TimedOut => "timeout_error",
        }
    }

    fn moonshot_type(&self) -> &'static str {
        match self.kind {
            Kind::NoKey | Kind::BadKey => "invalid_authentication_error",
            Kind::OutOfMoney => "exceeded_current_quota_error",
            Kind::Forbidden => "permission_denied_error",
            Kind::NoSuchModel | Kind::NoSuchPath => "resource_not_found_error",
            Kind::RateLimited => "rate_limit_reached_error",
            Kind::Overloaded => "engine_overloaded_error",
            Kind::Internal | Kind::TimedOut => "server_error",
            Kind::BadRequest | Kind::TooLong | Kind::TooBig => "invalid_request_error",
        }
    }

    fn minimax_type(&self) -> &'static str {
        match self.kind {
            Kind::NoKey | Kind::BadKey => "authorized_error",
            Kind::OutOfMoney => "insufficient_balance_error",
            Kind::RateLimited => "rate_limit_error",
            Kind::Overloaded => "overloaded_error",
            Kind::Internal | Kind::TimedOut => "server_error",
            _ => "bad_request_error",
        }
    }

    fn google_body(&self) -> Value {
        let status = match self.kind {
            Kind::BadRequest | Kind::TooLong | Kind::TooBig | Kind::BadKey => "INVALID_ARGUMENT",
            Kind::NoKey | Kind::Forbidden => "PERMISSION_DENIED",
            Kind::NoSuchModel | Kind::NoSuchPath => "NOT_FOUND",
            Kind::RateLimited | Kind::OutOfMoney => "RESOURCE_EXHAUSTED",
            Kind::Internal => "INTERNAL",
            Kind::Overloaded => "UNAVAILABLE",
            Kind::TimedOut => "DEADLINE_EXCEEDED",
        };
        let mut error = json!({
            "code": self.status(Provider::Gemini).as_u16(),
            "message": self.message,
            "status": status,
        });
        if self.kind == Kind::BadKey {
            error.set("details", json!([
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                    "metadata": {"service": "generativelanguage.googleapis.com"},
                },
                {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": self.message},
            ]));
        }
        if self.kind == Kind::RateLimited {
            let quota = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier";
            error.set(
                "details",
                json!([
                    {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]},
                    {
                        "@type": "type.googleapis.com/google.rpc.RetryInfo",
                        "retryDelay": format!("{}s", self.retry_after.unwrap_or(34)),
                    },
                ]),
            );
        }
        json!({"error": error})
    }
}

/// MiniMax's errors that come with status 200 (its codes 1002, 1004, 1008, 2013 and so on).
pub(crate) fn minimax_base_resp(code: u32, message: &str, model: &str) -> Value {
    json!({
        "id": "0637e81341eec253ae806406d16766a5",
        "choices": null,
        "created": 0,
        "model": model,
        "object": "chat.completion",
        "usage": {"total_tokens": 0, "total_characters": 0},
        "input_sensitive": false,
        "output_sensitive": false,
        "input_sensitive_type": 0,
        "output_sensitive_type": 0,
        "output_sensitive_int": 0,
        "base_resp": {"status_code": code, "status_msg": message},
    })
}
