//! From what a provider said or did to the class of the fault. What follows from a class stands in [`aipipe_actors::fault`].

use aipipe_actors::fault::Fault;
use http::StatusCode;

use crate::dialects::translate::ProviderError;

/// Words in a message that say that the key is refused although the status is 400 (Gemini, xAI).
const WRONG_KEY: [&str; 4] = ["api key not valid", "incorrect api key", "invalid api key", "api_key_invalid"];
/// Words that say that the prompt does not fit the model's context.
const TOO_LONG: [&str; 9] = [
    "prompt is too long",
    "maximum context length",
    "context length exceeded",
    "context_length_exceeded",
    "exceeds the maximum number of tokens",
    "exceeded model token limit",
    "maximum prompt length",
    "input token count",
    "context window exceeds",
];
/// Words that say that the model is not served.
const NO_MODEL: [&str; 4] = ["model not found", "not a valid model id", "model_not_found", "unknown model"];
/// Words of a 404 that is about something the request names, not about the model (OpenAI, Anthropic, Gemini).
const NO_SUCH_THING: [&str; 5] =
    ["previous_response_not_found", "with id", "no such file", "file not found", "cachedcontent not found"];
/// Codes and words that say that money or quota has run out, whatever the status.
const NO_MONEY: [&str; 8] = [
    "insufficient_quota",
    "exceeded_current_quota",
    "insufficient_balance",
    "insufficient balance",
    "billing_error",
    "credit balance is too low",
    "used all available credits",
    "spending limit",
];
/// Codes and words of moderation.
const MODERATED: [&str; 6] =
    ["content_filter", "content_policy", "moderation", "sensitive", "flagged", "responsible ai"];
/// Codes of a provider that has no capacity left although it answers 429.
const NO_CAPACITY: [&str; 2] = ["engine_overloaded", "overloaded_error"];

/// The class of a provider's error.
pub fn provider_error(error: &ProviderError) -> Fault {
    let code = error.code.as_deref().unwrap_or_default().to_ascii_lowercase();
    // Of spelling, not of content.
    let message = error.message.to_ascii_lowercase().replace("case-sensitive", "").replace("case sensitive", "");
    let says = |words: &[&str]| words.iter().any(|word| code.contains(word) || message.contains(word));
    match error.status {
        StatusCode::UNAUTHORIZED => Fault::Key,
        StatusCode::PAYMENT_REQUIRED => Fault::Quota,
        StatusCode::FORBIDDEN if says(&MODERATED) => Fault::ContentPolicy,
        StatusCode::FORBIDDEN if says(&NO_MONEY) => Fault::Quota,
        StatusCode::FORBIDDEN => Fault::Key,
        StatusCode::NOT_FOUND if says(&NO_SUCH_THING) && !message.contains("model") => Fault::Request,
        StatusCode::NOT_FOUND => Fault::ModelMissing,
        StatusCode::TOO_MANY_REQUESTS if says(&NO_MONEY) => Fault::Quota,
        StatusCode::TOO_MANY_REQUESTS if says(&NO_CAPACITY) => Fault::Overloaded,
        StatusCode::TOO_MANY_REQUESTS => Fault::RateLimited,
        StatusCode::PAYLOAD_TOO_LARGE => Fault::ContextLength,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Fault::Upstream,
        status if status.is_client_error() => match () {
            () if says(&TOO_LONG) => Fault::ContextLength,
            () if says(&WRONG_KEY) => Fault::Key,
            () if says(&NO_MONEY) => Fault::Quota,
            () if says(&MODERATED) => Fault::ContentPolicy,
            () if says(&NO_MODEL) || (message.contains("model") && message.contains("does not exist")) => {
                Fault::ModelMissing
            }
            () => Fault::Request,
        },
        StatusCode::SERVICE_UNAVAILABLE => Fault::Overloaded,
        status if status.as_u16() == 529 => Fault::Overloaded,
        _ => Fault::Upstream,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d171_d175_errors_are_classed_by_what_they_say_where_the_status_misleads() {
        for (status, code, message, fault) in [
            (401, "invalid_api_key", "Incorrect API key provided", Fault::Key),
            (400, "API_KEY_INVALID", "API key not valid. Please pass a valid API key.", Fault::Key),
            (400, "invalid-argument", "Incorrect API key provided: xa***. ", Fault::Key),
            (429, "insufficient_quota", "You exceeded your current quota", Fault::Quota),
            (429, "rate_limit_exceeded", "Rate limit reached", Fault::RateLimited),
            (429, "engine_overloaded_error", "The engine is currently overloaded", Fault::Overloaded),
            (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", Fault::ContextLength),
            (
                400,
                "context_length_exceeded",
                "This model's maximum context length is 128000 tokens",
                Fault::ContextLength,
            ),
            (400, "", "invalid params, context window exceeds limit (2013)", Fault::ContextLength),
            (400, "", "foo is not a valid model ID", Fault::ModelMissing),
            (404, "not_found_error", "model: nope", Fault::ModelMissing),
            (404, "", "Item with id 'rs_1' not found.", Fault::Request),
            (400, "", "The model `nope` does not exist", Fault::ModelMissing),
            (400, "", "The column does not exist in the schema", Fault::Request),
            (400, "", "names of functions are case-sensitive", Fault::Request),
            (403, "", "Input flagged by moderation", Fault::ContentPolicy),
            (403, "PERMISSION_DENIED", "caller lacks permission", Fault::Key),
            (400, "invalid_request_error", "max_tokens: Field required", Fault::Request),
            (402, "", "Insufficient credits", Fault::Quota),
            (
                403,
                "permission-denied",
                "Your team has used all available credits or reached its monthly spending limit.",
                Fault::Quota,
            ),
            (529, "overloaded_error", "Overloaded", Fault::Overloaded),
            (500, "api_error", "Internal server error", Fault::Upstream),
            (520, "", "", Fault::Upstream),
        ] {
            let error = ProviderError {
                status: StatusCode::from_u16(status).unwrap(),
                code: Some(code.to_owned()).filter(|code| !code.is_empty()),
                message: message.to_owned(),
                param: None,
                retry_after: None,
            };
            assert_eq!(provider_error(&error), fault, "{status} {code} {message}");
        }
    }
}
