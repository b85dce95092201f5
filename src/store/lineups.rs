//! What decisions refer to: the models of each catalogue that one was made with.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aipipe_actors::routing::decision::Decision;
use aipipe_actors::routing::lineup::{Lineup, LineupId};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// Keeps a lineup, unless it is known.
pub(super) fn keep(transaction: &Transaction<'_>, id: LineupId, models: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO lineups (id, models) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING")?
        .execute(params![id.to_string(), models])?;
    Ok(())
}

/// The lineups that the rows of one reading refer to: hardly ever more than one.
pub(super) struct Lineups<'a> {
    connection: &'a Connection,
    known: HashMap<LineupId, Option<Lineup>>,
}

impl<'a> Lineups<'a> {
    pub(super) fn of(connection: &'a Connection) -> Self {
        Self { connection, known: HashMap::new() }
    }

    /// A decision as its row has it; `None` where there is none.
    pub(super) fn decision(&mut self, kept: &str) -> rusqlite::Result<Option<Decision>> {
        let Some(id) = Decision::lineup_of(kept) else { return Ok(None) };
        let lineup = match self.known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let models: Option<String> = self
                    .connection
                    .prepare_cached("SELECT models FROM lineups WHERE id = ?1")?
                    .query_row([id.to_string()], |row| row.get(0))
                    .optional()?;
                place.insert(models.and_then(|models| Lineup::read(&models).ok()))
            }
        };
        let decision = lineup.as_ref().and_then(|lineup| Decision::decode(kept, lineup));
        if decision.is_none() {
            tracing::warn!(lineup = %id, "a decision refers to models that are not in the database");
        }
        Ok(decision)
    }
}
