//! The ledger's rows as people read them, and what clients say of answers.

use aipipe_actors::identity::{ModelId, ProviderId, RequestId, TenantId};
use aipipe_actors::ledger::{Attempt, CacheUse, Outcome, Role};
use aipipe_actors::money::{NanoUsd, Tokens};
use aipipe_actors::routing::decision::Decision;
use aipipe_actors::routing::evidence::Task;
use jiff::Timestamp;
use rusqlite::types::Value as Parameter;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::lineups::Lineups;
use super::sqlite::value::{RowExt, nanos};
use super::{AdminScope, Reader, Store, StoreError, repricing};

/// A ledger row, in the shape of the admin API.
#[derive(Debug, Clone, Serialize)]
pub struct RequestRow {
    /// Which request.
    pub request_id: RequestId,
    /// Whose.
    pub tenant: TenantId,
    /// When it was admitted.
    pub at: Timestamp,
    /// The client's dialect.
    pub dialect: String,
    /// The model that the client asked for.
    pub requested: String,
    /// Provider that answered, or of the last attempt.
    pub provider: ProviderId,
    /// Model that answered, or of the last attempt.
    pub model: ModelId,
    /// The complexity that the choice was made with.
    pub complexity: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// Every upstream call, in order.
    pub attempts: Vec<AttemptRow>,
    /// All attempts' tokens together.
    pub tokens: Tokens,
    /// Whether any tokens were estimated.
    pub estimated: bool,
    /// What it cost; of an unsettled request the most that it can have cost, of an open one nothing yet.
    #[serde(rename = "cost_usd", serialize_with = "usd")]
    pub cost: NanoUsd,
    /// The upper bound of the cost that was set aside for it.
    #[serde(rename = "reserved_usd", serialize_with = "usd")]
    pub reserved: NanoUsd,
    /// What the baseline model would have cost beyond it.
    #[serde(rename = "saved_usd", serialize_with = "usd")]
    pub saved: NanoUsd,
    /// From arrival to end, in milliseconds, where it has ended.
    pub latency_ms: Option<u64>,
    /// From arrival to the first content, in milliseconds, where there was any.
    pub ttft_ms: Option<u64>,
    /// What the cache had to do with it.
    pub cache: CacheUse,
    /// The client's tags.
    pub tags: Vec<String>,
    /// How the choice was made; `null` where it is not known.
    pub decision: Value,
    /// The client's request that this call of a second policy's model repeats, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow_of: Option<RequestId>,
}

/// One upstream call of a row.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptRow {
    /// Who was called.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// How the call ended.
    pub outcome: Outcome,
    /// The provider's HTTP status, where it gave one.
    pub status: Option<u16>,
    /// How long the call took, in milliseconds.
    pub latency_ms: u64,
    /// What it cost.
    #[serde(rename = "cost_usd", serialize_with = "usd")]
    pub cost: NanoUsd,
    /// Name of the fault, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Why it was made beside or after others: to go on with a broken answer, as a hedge, or for a tenant's second policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

impl From<Attempt> for AttemptRow {
    fn from(attempt: Attempt) -> Self {
        let Attempt { provider, model, outcome, status, latency_ms, cost, fault, role, .. } = attempt;
        Self { provider, model, outcome, status, latency_ms, cost, fault, role }
    }
}

impl RequestRow {
    fn read(row: &Row<'_>, lineups: &mut Lineups<'_>) -> rusqlite::Result<Self> {
        let kept = row.get_ref("decision")?.as_str()?;
        let decision = lineups.decision(kept)?.as_ref().map_or(Value::Null, Decision::to_json);
        let attempts = repricing::attempts(row)?;
        Ok(Self {
            request_id: RequestId::from_bytes(row.get("id")?),
            tenant: row.name("tenant", TenantId::parse)?,
            at: row.instant("at")?,
            dialect: row.get("dialect")?,
            requested: row.get("requested")?,
            provider: row.name("provider", ProviderId::parse)?,
            model: row.name("model", ModelId::parse)?,
            complexity: row.get("complexity")?,
            outcome: row.outcome("outcome")?,
            attempts: attempts.into_iter().map(AttemptRow::from).collect(),
            tokens: tokens(row)?,
            estimated: row.get("estimated")?,
            cost: NanoUsd(row.get("cost")?),
            reserved: NanoUsd(row.get("reserved")?),
            saved: NanoUsd(row.get("saved")?),
            latency_ms: row.optional_count("latency_ms")?,
            ttft_ms: row.optional_count("ttft_ms")?,
            cache: row.cache("cache")?,
            tags: row.json("tags")?,
            decision,
            shadow_of: row.get::<_, Option<[u8; 16]>>("shadow_of")?.map(RequestId::from_bytes),
        })
    }
}

/// The token columns of a row.
pub(super) fn tokens(row: &Row<'_>) -> rusqlite::Result<Tokens> {
    Ok(Tokens {
        input: row.count("input_tokens")?,
        cached_input: row.count("cached_input_tokens")?,
        cache_write: row.count("cache_write_tokens")?,
        output: row.count("output_tokens")?,
        reasoning: row.count("reasoning_tokens")?,
        audio_input: row.count("audio_input_tokens")?,
        audio_output: row.count("audio_output_tokens")?,
    })
}

/// Writes an amount as a decimal string of USD.
pub(super) fn usd<S: Serializer>(amount: &NanoUsd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// Which rows are asked for.
#[derive(Debug, Default, Clone)]
pub struct RequestFilter {
    /// Of this tenant only.
    pub tenant: Option<TenantId>,
    /// Answered, or last asked, by this provider only.
    pub provider: Option<ProviderId>,
    /// Answered, or last asked, by this model only.
    pub model: Option<ModelId>,
    /// Only those that ended so.
    pub outcome: Option<Outcome>,
    /// Admitted from this instant on.
    pub since: Option<Timestamp>,
    /// Admitted before this instant.
    pub until: Option<Timestamp>,
    /// How many at most; 1 to [`RequestFilter::MAX_LIMIT`].
    pub limit: usize,
    /// Where the page before this one ended: its `next_cursor`.
    pub cursor: Option<String>,
}

impl RequestFilter {
    /// The longest page.
    pub const MAX_LIMIT: usize = 1000;

    /// What is asked for beside the place in the order: a comparison and what to compare with.
    fn conditions(&self) -> impl Iterator<Item = (&'static str, Parameter)> {
        let text = |text: &str| Parameter::from(text.to_owned());
        [
            ("tenant =", self.tenant.as_ref().map(|tenant| text(tenant.as_str()))),
            ("provider =", self.provider.as_ref().map(|provider| text(provider.as_str()))),
            ("model =", self.model.as_ref().map(|model| text(model.as_str()))),
            ("outcome =", self.outcome.map(|outcome| text(outcome.as_str()))),
            ("at >=", self.since.map(|since| Parameter::from(nanos(since)))),
            ("at <", self.until.map(|until| Parameter::from(nanos(until)))),
        ]
        .into_iter()
        .filter_map(|(condition, value)| Some((condition, value?)))
    }
}

/// A page of rows, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct RequestPage {
    /// The rows.
    pub requests: Vec<RequestRow>,
    /// Where the next page begins; absent on the last.
    pub next_cursor: Option<String>,
}

/// What a client says of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback {
    /// How good it was, in 0..=1.
    pub score: f64,
    /// Why.
    pub comment: Option<String>,
    /// Whether it counts in what is learned of models.
    pub counted: bool,
}

/// The answer that feedback was given on.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Who gave it.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// What kind of task it was for.
    pub task: Task,
    /// Whether there was an answer at all.
    pub answered: bool,
    /// The score that this one replaces, and when it was given, where that was counted.
    pub replaced: Option<(f64, Timestamp)>,
}

impl Judged {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let decision: String = row.get("decision")?;
        let outcome = row.outcome("outcome")?;
        let replaced: Option<f64> = row.get("score")?;
        Ok(Self {
            provider: row.name("provider", ProviderId::parse)?,
            model: row.name("model", ModelId::parse)?,
            task: Decision::task_of(&decision).unwrap_or_default(),
            answered: matches!(outcome, Outcome::Ok | Outcome::Truncated | Outcome::Cancelled),
            replaced: replaced.zip(row.optional_instant("said")?),
        })
    }
}

/// The place of a row in the order of all: its instant, and its number among those of the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    at: i64,
    seq: i64,
}

impl Cursor {
    const START: Self = Self { at: i64::MAX, seq: i64::MAX };

    fn parse(text: &str) -> Result<Self, StoreError> {
        text.split_once('.')
            .and_then(|(at, seq)| Some(Self { at: at.parse().ok()?, seq: seq.parse().ok()? }))
            .ok_or(StoreError::UnknownCursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.at, self.seq)
    }
}

impl Reader {
    /// The latest rows, newest first.
    ///
    /// # Errors
    /// When the cursor is none of a page before, or the database cannot be read.
    pub async fn requests(&self, _: AdminScope, filter: RequestFilter) -> Result<RequestPage, StoreError> {
        let Cursor { at, seq } = filter.cursor.as_deref().map_or(Ok(Cursor::START), Cursor::parse)?;
        let limit = filter.limit.clamp(1, RequestFilter::MAX_LIMIT);
        self.scan(move |connection| {
            // One row beyond the page tells whether there is another.
            let mut parameters = vec![Parameter::from(at), Parameter::from(seq), Parameter::from(limit as i64 + 1)];
            let mut conditions = String::new();
            for (condition, value) in filter.conditions() {
                parameters.push(value);
                conditions += &format!("{condition} ?{} AND ", parameters.len());
            }
            let sql = format!(
                "SELECT * FROM requests WHERE {conditions} (at, seq) < (?1, ?2) ORDER BY at DESC, seq DESC LIMIT ?3"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(parameters))?;
            let mut lineups = Lineups::of(connection);
            let mut page = RequestPage { requests: Vec::new(), next_cursor: None };
            let mut last = Cursor::START;
            while let Some(row) = rows.next()? {
                if page.requests.len() == limit {
                    page.next_cursor = Some(last.to_string());
                    break;
                }
                last = Cursor { at: row.get("at")?, seq: row.get("seq")? };
                page.requests.push(RequestRow::read(row, &mut lineups)?);
            }
            Ok(page)
        })
        .await
    }

    /// One row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn request(&self, _: AdminScope, id: RequestId) -> Result<Option<RequestRow>, StoreError> {
        self.scan(move |connection| {
            Ok(connection
                .prepare_cached("SELECT * FROM requests WHERE id = ?1")?
                .query_row([id.as_bytes()], |row| RequestRow::read(row, &mut Lineups::of(connection)))
                .optional()?)
        })
        .await
    }
}

impl Store {
    /// Keeps what a client says of one of its tenant's requests, in place of what it said before, and tells who had answered; `None` where
    /// the request is not this tenant's. What is said of a request that was never answered counts for nothing.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn feedback(
        &self,
        tenant: &TenantId,
        id: RequestId,
        feedback: Feedback,
    ) -> Result<Option<Judged>, StoreError> {
        let tenant = tenant.clone();
        let now = nanos(Timestamp::now());
        self.writer
            .handle()
            .change(move |transaction| {
                let judged = transaction
                    .prepare_cached(
                        "SELECT provider, model, outcome, decision, score, feedback.at AS said FROM requests \
                         LEFT JOIN feedback ON request_id = requests.id AND counted \
                         WHERE requests.id = ?1 AND requests.tenant = ?2",
                    )?
                    .query_row(params![id.as_bytes(), tenant.as_str()], Judged::read)
                    .optional()?;
                if let Some(judged) = &judged {
                    let Feedback { score, comment, counted } = feedback;
                    transaction
                        .prepare_cached(
                            "INSERT OR REPLACE INTO feedback (request_id, tenant, at, score, comment, counted) \
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                        )?
                        .execute(params![
                            id.as_bytes(),
                            tenant.as_str(),
                            now,
                            score,
                            comment,
                            counted && judged.answered
                        ])?;
                }
                Ok(judged)
            })
            .await
    }
}
