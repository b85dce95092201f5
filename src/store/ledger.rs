//! The gateway's ledger port, kept by the journal.

use std::borrow::Cow;
use std::io;

use aipipe_actors::ledger::{Closing, Issued, Ledger, LedgerUnavailable, Opening, Raise};

use aipipe_actors::routing::lineup::Lineup;

use super::journal::Entry;
use super::sqlite::writer;

/// Appends to the journal from the caller's thread.
#[derive(Debug)]
pub(super) struct JournalLedger(pub(super) writer::Handle);

impl JournalLedger {
    fn append(&self, entry: Entry<'_>) -> Result<(), LedgerUnavailable> {
        self.0.append(entry).map_err(|error: io::Error| LedgerUnavailable(error.to_string()))
    }
}

impl Ledger for JournalLedger {
    fn introduce(&self, lineup: &Lineup) {
        if let Err(error) = self.append(Entry::Lineup { id: lineup.id(), text: Cow::Borrowed(lineup.text()) }) {
            tracing::error!(%error, "what decisions refer to is in memory only until the database has it");
        }
    }

    fn open(&self, opening: &Opening) -> Result<(), LedgerUnavailable> {
        self.append(Entry::Open(Cow::Borrowed(opening)))
    }

    fn raise(&self, raise: &Raise) -> Result<(), LedgerUnavailable> {
        self.append(Entry::Raise(Cow::Borrowed(raise)))
    }

    fn close(&self, closing: &Closing) {
        if let Err(error) = self.append(Entry::Close(Cow::Borrowed(closing))) {
            tracing::error!(request_id = %closing.request_id, %error, "a settlement is in memory only until the database has it");
        }
    }

    fn open_and_close(&self, opening: &Opening, closing: &Closing) -> Result<(), LedgerUnavailable> {
        self.append(Entry::OpenClose(Cow::Borrowed(opening), Box::new(Cow::Borrowed(closing))))
    }

    fn issue(&self, issued: &Issued) {
        if let Err(error) = self.append(Entry::Issue(Cow::Borrowed(issued))) {
            tracing::error!(tenant = %issued.tenant, provider = %issued.provider, %error, "what a provider issued is not written down");
        }
    }
}
