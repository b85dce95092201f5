//! What tenants' requests have taught of models, as it was last written down.

use aipipe_actors::identity::{ModelId, ProviderId, TenantId};
use aipipe_actors::routing::evidence::{Evidence, Task};
use aipipe_actors::tenant::learning::Lesson;
use rusqlite::{Row, Transaction, params};

use super::sqlite::value::{RowExt, nanos};
use super::{Reader, Store, StoreError};

fn read(row: &Row<'_>) -> rusqlite::Result<Option<Lesson>> {
    let name: String = row.get("task")?;
    // A kind of task that another version knew teaches this one nothing.
    let Some(task) = Task::ALL.into_iter().find(|task| task.as_str() == name) else { return Ok(None) };
    let endings =
        [row.get("sound")?, row.get("refused")?, row.get("cut_off")?, row.get("malformed")?, row.get("asked_again")?];
    let evidence = Evidence { endings, judged: row.get("judged")?, scores: row.get("scores")?, at: row.instant("at")? };
    let (provider, model) = (row.name("provider", ProviderId::parse)?, row.name("model", ModelId::parse)?);
    Ok(Some(Lesson { provider, model, task, evidence }))
}

fn clear(transaction: &Transaction<'_>, tenant: &TenantId) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM learning WHERE tenant = ?1")?.execute([tenant.as_str()]).map(drop)
}

/// Forgets what a tenant's requests have taught. What was said of answers stays, and no longer counts.
pub(super) fn forget(transaction: &Transaction<'_>, tenant: &TenantId) -> rusqlite::Result<()> {
    clear(transaction, tenant)?;
    transaction
        .prepare_cached("UPDATE feedback SET counted = 0 WHERE tenant = ?1 AND counted")?
        .execute([tenant.as_str()])
        .map(drop)
}

impl Reader {
    /// What a tenant's requests have taught.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lessons(&self, tenant: &TenantId) -> Result<Vec<Lesson>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM learning WHERE tenant = ?1")?;
            let lessons = statement.query_map([tenant.as_str()], read)?.collect::<Result<Vec<_>, _>>()?;
            Ok(lessons.into_iter().flatten().collect())
        })
        .await
    }
}

impl Store {
    /// Writes down what a tenant's requests have taught, in place of what was written down before.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn save_lessons(&self, tenant: &TenantId, lessons: Vec<Lesson>) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        self.writer
            .handle()
            .change(move |transaction| {
                clear(transaction, &tenant)?;
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO learning (tenant, provider, model, task, at, sound, refused, cut_off, malformed, asked_again, \
                     judged, scores) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?;
                for Lesson { provider, model, task, evidence } in lessons {
                    let [sound, refused, cut_off, malformed, asked_again] = evidence.endings;
                    statement.execute(params![
                        tenant.as_str(),
                        provider.as_str(),
                        model.as_str(),
                        task.as_str(),
                        nanos(evidence.at),
                        sound,
                        refused,
                        cut_off,
                        malformed,
                        asked_again,
                        evidence.judged,
                        evidence.scores,
                    ])?;
                }
                Ok(())
            })
            .await
    }

    /// Forgets what a tenant's requests have taught. What was said of answers stays, and no longer counts.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn forget_lessons(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        self.writer.handle().change(move |transaction| Ok(forget(transaction, &tenant)?)).await
    }
}
