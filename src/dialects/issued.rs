//! What providers issued to a tenant: ids of things that they keep (responses, items, files, containers), and encrypted thoughts.
//!
//! Whoever names such a thing gets it from the provider, whoever it belongs to, where several tenants share a key. AiPipe therefore keeps
//! the hash of each that it has seen issued, with the tenant: another tenant's is as unknown as one that never was.

use std::collections::HashMap;

use aipipe_actors::identity::ProviderId;
use aipipe_actors::ledger::IssuedHash;
use sha2::{Digest, Sha256};

/// The hash that is kept of an id or of encrypted content: the first half of its SHA-256.
pub fn hash(text: &str) -> IssuedHash {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let half = digest.first_chunk::<16>().copied().unwrap_or_default();
    IssuedHash(u128::from_be_bytes(half))
}

/// Something that a provider keeps and that a request cannot do without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: StoredKind,
}

/// What a provider keeps under an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredKind {
    /// A file, a container, a conversation and the like.
    Thing,
    /// The response that a request goes on from.
    PreviousResponse,
    /// An item of an earlier response.
    Item,
    /// An earlier thought: a model elsewhere can do without it.
    Thought,
}

impl Stored {
    /// A thing of no special kind.
    pub fn thing(id: impl Into<String>) -> Self {
        Self { id: id.into(), kind: StoredKind::Thing }
    }
}

/// Of all that a request names, what was issued to its tenant, and by whom.
#[derive(Debug, Default)]
pub struct Holdings(HashMap<IssuedHash, ProviderId>);

impl Holdings {
    /// Who issued it.
    pub fn holder(&self, hash: IssuedHash) -> Option<&ProviderId> {
        self.0.get(&hash)
    }

    /// Whether this provider issued it.
    pub fn is_at(&self, hash: IssuedHash, provider: &ProviderId) -> bool {
        self.holder(hash) == Some(provider)
    }
}

impl FromIterator<(IssuedHash, ProviderId)> for Holdings {
    fn from_iter<I: IntoIterator<Item = (IssuedHash, ProviderId)>>(held: I) -> Self {
        Self(held.into_iter().collect())
    }
}
