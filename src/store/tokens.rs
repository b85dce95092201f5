//! Client tokens: hashed, named by an id that the token itself holds.

use aipipe_actors::identity::TenantId;
use jiff::Timestamp;
use rusqlite::{Row, params};

use super::sqlite::value::{RowExt, nanos};
use super::{AdminScope, Reader, Store, StoreError, tenants};

/// A client token as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Names it, also within the token.
    pub id: String,
    /// The tenant that it proves.
    pub tenant: TenantId,
    /// SHA-256 of the whole token.
    pub hash: [u8; 32],
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it ends; never where absent.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute; absent where it never was.
    pub last_used_at: Option<Timestamp>,
}

impl TokenRecord {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            tenant: row.name("tenant", TenantId::parse)?,
            hash: row.get("hash")?,
            created_at: row.instant("created_at")?,
            expires_at: row.optional_instant("expires_at")?,
            last_used_at: row.optional_instant("last_used_at")?,
        })
    }
}

impl Reader {
    /// The tokens of all tenants, expired or not, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tokens(&self, _: AdminScope) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM tokens ORDER BY created_at, id")?;
            let tokens = statement.query_map([], TokenRecord::read)?;
            Ok(tokens.collect::<Result<_, _>>()?)
        })
        .await
    }
}

impl Store {
    /// Keeps a token of an existing tenant.
    ///
    /// # Errors
    /// Where there is no such tenant, the id is taken, or the change cannot be written.
    pub async fn put_token(&self, token: TokenRecord) -> Result<(), StoreError> {
        self.writer
            .handle()
            .change(move |transaction| {
                if !tenants::exists(transaction, &token.tenant)? {
                    return Err(StoreError::UnknownTenant(token.tenant));
                }
                transaction.execute(
                    "INSERT INTO tokens (id, tenant, hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        token.id,
                        token.tenant.as_str(),
                        token.hash,
                        nanos(token.created_at),
                        token.expires_at.map(nanos)
                    ],
                )?;
                Ok(())
            })
            .await
    }

    /// Removes a token of this tenant; `false` where it has none of this id.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn delete_token(&self, tenant: &TenantId, id: &str) -> Result<bool, StoreError> {
        let (tenant, id) = (tenant.clone(), id.to_owned());
        self.writer
            .handle()
            .change(move |transaction| {
                let removed = transaction
                    .execute("DELETE FROM tokens WHERE tenant = ?1 AND id = ?2", params![tenant.as_str(), id])?;
                Ok(removed > 0)
            })
            .await
    }

    /// Notes when tokens were last used. What is gone by now is passed over.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn note_token_use(&self, uses: Vec<(String, Timestamp)>) -> Result<(), StoreError> {
        self.writer
            .handle()
            .change(move |transaction| {
                let mut statement = transaction.prepare_cached("UPDATE tokens SET last_used_at = ?2 WHERE id = ?1")?;
                for (id, at) in uses {
                    statement.execute(params![id, nanos(at)])?;
                }
                Ok(())
            })
            .await
    }
}
