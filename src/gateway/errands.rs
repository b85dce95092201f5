//! What is asked about an answer that a provider keeps: to see it, to delete it. Only its own tenant may, and only the provider that has it
//! is asked, with the key that it was made with.

use std::time::Duration;

use aipipe_actors::fault::Fault;
use http::{Method, StatusCode};
use tokio::time::timeout;

use super::Gateway;
use super::failure::explanation;
use super::refusal::Refusal;
use super::tenants::Live;
use crate::dialects::issued::hash;
use crate::dialects::translate::ProviderError;
use crate::upstream::classify;
use crate::upstream::client::{Broken, Call, MAX_ANSWER_BYTES, MAX_ERROR_BYTES, read_body};

/// An errand.
#[derive(Debug)]
pub struct Errand<'a> {
    /// The id of the answer.
    pub id: &'a str,
    /// What to do with it.
    pub method: Method,
    /// What follows the id in the address: `/input_items`, or nothing.
    pub detail: &'static str,
    /// Parameters in the address.
    pub parameters: Vec<(String, String)>,
}

impl Gateway {
    /// Runs an errand and gives the provider's JSON.
    ///
    /// # Errors
    /// [`Refusal`]: nobody issued such an answer to the tenant, too many errands of the tenant are under way, or the provider says no.
    pub async fn run(&self, tenant: &Live, errand: &Errand<'_>) -> Result<bytes::Bytes, Refusal> {
        let _turn = tenant.errands.try_acquire().map_err(|_| Refusal::tenant_overloaded())?;
        let not_found = || {
            let message = format!("Response with id '{}' not found.", errand.id);
            Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
        };
        let named = hash(errand.id);
        let holdings = self.issued(tenant, vec![named]).await?;
        let provider = holdings.holder(named).ok_or_else(not_found)?;
        let setup = self.setup.load_full();
        let upstream = setup.upstreams.get(provider).ok_or_else(not_found)?;
        let profile = &upstream.config.profile;
        // An id that could lead elsewhere in the address was issued by nobody.
        let is_plain = errand.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let path = profile.paths.responses.filter(|_| is_plain);
        let path = path.ok_or_else(not_found)?;
        let broken = |error: Broken| failed(provider.as_str(), error.fault, &error.message);
        let mut url = upstream.url(&format!("{path}/{}{}", errand.id, errand.detail)).map_err(broken)?;
        if !errand.parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(&errand.parameters);
        }
        let call = Call { url, headers: upstream.headers.clone(), body: bytes::Bytes::new() };
        let key = tenant.key(provider);
        let patience = setup.config.reliability.first_byte_timeout;
        let answer = async {
            let response =
                self.client.request(errand.method.clone(), call, profile.auth, key.as_ref()).await.map_err(broken)?;
            let status = response.status();
            let most = if status.is_success() { MAX_ANSWER_BYTES } else { MAX_ERROR_BYTES };
            let body = read_body(response, most).await.map_err(broken)?;
            Ok((status, body))
        };
        let silent = || failed(provider.as_str(), Fault::Silent, "nothing came in time");
        let (status, body) = timeout(patience, answer).await.unwrap_or_else(|_| Err(silent()))?;
        match status {
            status if status.is_success() => Ok(body),
            StatusCode::NOT_FOUND => Err(not_found()),
            status => Err(refused(provider.as_str(), upstream.read_error(status, &body).without(key.as_ref()))),
        }
    }
}

/// The provider says no.
fn refused(provider: &str, error: ProviderError) -> Refusal {
    match classify::provider_error(&error) {
        Fault::Request => {
            let code = error.code.map_or("invalid_request".into(), std::borrow::Cow::Owned);
            Refusal { code, ..Refusal::invalid(error.param.as_deref(), error.message) }
        }
        fault => failed(provider, fault, &error.message),
    }
}

fn failed(provider: &str, fault: Fault, message: &str) -> Refusal {
    let consequence = fault.consequence();
    let status = consequence.status.and_then(|status| StatusCode::from_u16(status).ok());
    let code = consequence.code.unwrap_or("upstream_error");
    let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
    let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let message = format!("{provider}: {}: {message}", explanation(fault));
    Refusal { retry_after: waits.then_some(Duration::from_secs(1)), ..Refusal::new(status, code, message) }
}
