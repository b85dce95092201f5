//! Which endpoint a path of a provider is.

use http::Method;
use percent_encoding::percent_decode_str;

use super::provider::Provider;

/// What an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Embeddings,
    CountTokens,
    Models,
    Responses,
    /// About an answer that is kept.
    KeptResponse,
}

/// The endpoint at a path, and the model where the path names it.
pub(crate) fn route(provider: Provider, method: &Method, path: &str) -> (Option<Endpoint>, Option<String>) {
    let posted = method == Method::POST;
    if provider == Provider::Gemini {
        return route_gemini(posted, path);
    }
    let base = if provider == Provider::Anthropic { "/v1" } else { provider.base_path() };
    let has_responses = [Provider::OpenAi, Provider::Xai, Provider::OpenRouter].contains(&provider);
    let endpoint = match path.strip_prefix(base).unwrap_or_default() {
        "/responses" if posted && has_responses => Some(Endpoint::Responses),
        "/responses/input_tokens" if posted && provider == Provider::OpenAi => Some(Endpoint::CountTokens),
        path if path.starts_with("/responses/") && has_responses && provider != Provider::OpenRouter => {
            Some(Endpoint::KeptResponse)
        }
        "/models" if method == Method::GET => Some(Endpoint::Models),
        "/messages" if posted && provider == Provider::Anthropic => Some(Endpoint::Chat),
        "/messages/count_tokens" if posted && provider == Provider::Anthropic => Some(Endpoint::CountTokens),
        "/chat/completions" if posted && provider != Provider::Anthropic => Some(Endpoint::Chat),
        // MiniMax has a form of its own, the others none.
        "/embeddings" if posted && [Provider::OpenAi, Provider::OpenRouter].contains(&provider) => {
            Some(Endpoint::Embeddings)
        }
        _ => None,
    };
    (endpoint, None)
}

fn route_gemini(posted: bool, path: &str) -> (Option<Endpoint>, Option<String>) {
    let Some(path) = path.strip_prefix("/v1beta/models").or_else(|| path.strip_prefix("/v1/models")) else {
        return (None, None);
    };
    if path.is_empty() && !posted {
        return (Some(Endpoint::Models), None);
    }
    let Some((model, method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once(':')).filter(|_| posted) else {
        return (None, None);
    };
    let endpoint = match method {
        "generateContent" | "streamGenerateContent" => Some(Endpoint::Chat),
        "countTokens" => Some(Endpoint::CountTokens),
        "batchEmbedContents" | "embedContent" => Some(Endpoint::Embeddings),
        _ => None,
    };
    (endpoint, Some(percent_decode_str(model).decode_utf8_lossy().into_owned()))
}
