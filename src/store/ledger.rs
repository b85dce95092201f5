//! The gateway's ledger port, kept by the journal.

use std::borrow::Cow;

use aipipe_actors::ledger::{Closing, Issued, Ledger, LedgerUnavailable, Opening, Raise};

use aipipe_actors::routing::lineup::Lineup;

use super::journal::{Entry, Unwritten};
use super::sqlite::writer;

/// Appends to the journal from the caller's thread.
#[derive(Debug)]
pub(super) struct JournalLedger(pub(super) writer::Handle);

impl JournalLedger {
    fn append(&self, entry: Entry<'_>) -> Result<(), LedgerUnavailable> {
        self.0.append(entry).map_err(|Unwritten { error, .. }| LedgerUnavailable(error.to_string()))
    }
}

impl Unwritten {
    /// What became of the record, as the log tells it.
    fn fate(&self) -> &'static str {
        match self.kept {
            Some(_) => "in memory only until the database has it",
            None => "lost",
        }
    }
}

impl Ledger for JournalLedger {
    fn introduce(&self, lineup: &Lineup) {
        let entry = Entry::Lineup { id: lineup.id(), text: Cow::Borrowed(lineup.text()) };
        if let Err(unwritten) = self.0.append(entry) {
            tracing::error!(error = %unwritten.error, "what decisions refer to is {}", unwritten.fate());
        }
    }

    fn open(&self, opening: &Opening) -> Result<(), LedgerUnavailable> {
        self.append(Entry::Open(Cow::Borrowed(opening)))
    }

    fn raise(&self, raise: &Raise) -> Result<(), LedgerUnavailable> {
        self.append(Entry::Raise(Cow::Borrowed(raise)))
    }

    fn close(&self, closing: &Closing) {
        if let Err(unwritten) = self.0.append(Entry::Close(Cow::Borrowed(closing))) {
            let Closing { request_id, .. } = closing;
            tracing::error!(%request_id, error = %unwritten.error, "a settlement is {}", unwritten.fate());
        }
    }

    fn open_and_close(&self, opening: &Opening, closing: &Closing) -> Result<(), LedgerUnavailable> {
        self.append(Entry::OpenClose(Cow::Borrowed(opening), Box::new(Cow::Borrowed(closing))))
    }

    fn issue(&self, issued: &Issued) {
        if let Err(unwritten) = self.0.append(Entry::Issue(Cow::Borrowed(issued))) {
            let Issued { tenant, provider, .. } = issued;
            tracing::error!(%tenant, %provider, error = %unwritten.error, "what a provider issued is {}", unwritten.fate());
        }
    }
}
