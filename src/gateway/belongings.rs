//! Whose the things are that a request names and a provider keeps, and who has them.
//!
//! Several tenants may share a provider's key, and the provider tells them not apart. So a request may name only what AiPipe has seen
//! issued to its own tenant, and what one of the keys has that the tenant uses now. Another tenant's thing is looked up like one that does
//! not exist, and refused in the same words.

use aipipe_actors::catalogue::Catalogue;
use aipipe_actors::identity::ProviderId;
use aipipe_actors::ledger::IssuedHash;
use aipipe_actors::routing::digest::Requested;
use http::StatusCode;

use super::Gateway;
use super::refusal::Refusal;
use super::tenants::Live;
use crate::dialects::client::Facts;
use crate::dialects::issued::{Holdings, Stored, StoredKind, hash};

/// Things that a request may name: each costs a read.
const MOST: usize = 4_096;

impl Gateway {
    /// Of all that a request names, what was issued to its tenant.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn holdings(&self, tenant: &Live, facts: &Facts) -> Result<Holdings, Refusal> {
        let stored = facts.stored.iter().map(|stored| hash(&stored.id));
        let named: Vec<IssuedHash> = stored.chain(facts.mentioned.iter().copied()).collect();
        if named.is_empty() {
            return Ok(Holdings::default());
        }
        if facts.stored.len() > MOST {
            let message = format!("the request names more than {MOST} things that a provider keeps");
            return Err(Refusal::invalid(None, message));
        }
        self.issued(tenant, named).await
    }

    /// Of these hashes, what was issued to the tenant by a provider whose key it still uses.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(super) async fn issued(&self, tenant: &Live, hashes: Vec<IssuedHash>) -> Result<Holdings, Refusal> {
        let issued = self.store.issued(&tenant.id, hashes).await.map_err(|error| {
            tracing::error!(tenant = %tenant.id, %error, "what was issued to a tenant cannot be read");
            Refusal::unavailable("what providers keep for this tenant cannot be read; the operator's log says why")
        })?;
        let current = issued.into_iter().filter(|(_, issuer)| tenant.key_hash(&issuer.provider) == issuer.key);
        Ok(current.map(|(hash, issuer)| (hash, issuer.provider)).collect())
    }
}

/// The provider that has to serve a request, where what it cannot do without is kept by one.
///
/// # Errors
/// [`Refusal`] where something was not issued to the tenant, or two providers would be needed.
pub fn holder<'a>(
    stored: &[Stored],
    holdings: &'a Holdings,
    requested: &Requested,
    catalogue: &Catalogue,
) -> Result<Option<&'a ProviderId>, Refusal> {
    let mut needed: Option<&ProviderId> = None;
    let mut wanted: Option<&ProviderId> = None;
    for thing in stored {
        let holder = holdings.holder(hash(&thing.id)).ok_or_else(|| unknown(thing))?;
        if thing.kind == StoredKind::Thought {
            wanted = Some(holder);
        } else if needed.is_some_and(|needed| needed != holder) {
            let message = "the request names things that are stored at different providers: none can serve it";
            return Err(Refusal::invalid(Some("input"), message));
        } else {
            needed = Some(holder);
        }
    }
    Ok(needed.or_else(|| wanted.filter(|holder| is_had_at(holder, requested, catalogue))))
}

/// Whether the provider has the model asked for.
fn is_had_at(holder: &ProviderId, requested: &Requested, catalogue: &Catalogue) -> bool {
    match requested {
        Requested::Auto => true,
        Requested::Named { provider: Some(provider), .. } => provider == holder.as_str(),
        Requested::Named { provider: None, model } => catalogue.at_provider(holder.as_str(), model).is_some(),
    }
}

/// What a provider says of a thing that it does not have.
fn unknown(thing: &Stored) -> Refusal {
    let id = &thing.id;
    match thing.kind {
        StoredKind::PreviousResponse => Refusal {
            param: Some("previous_response_id".into()),
            ..Refusal::new(
                StatusCode::BAD_REQUEST,
                "previous_response_not_found",
                format!("Previous response with id '{id}' not found."),
            )
        },
        StoredKind::Item | StoredKind::Thought => Refusal {
            param: Some("input".into()),
            ..Refusal::new(StatusCode::NOT_FOUND, "not_found", format!("Item with id '{id}' not found."))
        },
        StoredKind::Thing => {
            let message = format!("there is nothing stored under the id {id:?} that was issued to this tenant");
            Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
        }
    }
}
