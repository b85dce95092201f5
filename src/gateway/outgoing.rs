//! A request as it goes to one provider: the client's bytes with a few splices where both speak the same, a translation otherwise.

use aipipe_actors::catalogue::Model;
use aipipe_actors::routing::digest::{Digest, Requested};
use http::HeaderMap;

use super::upstreams::Upstream;
use crate::dialects::openai_chat::answer::ToolShape;
use crate::dialects::openai_chat::passthrough::{Chosen, DetailsUse, DeveloperRole, Passthrough};
use crate::dialects::openai_chat::{ChatQuirks, Decoded, decode_request, prepare_passthrough};
use crate::dialects::scan::Scan;
use crate::dialects::translate::{CannotCarry, InvalidRequest, Undo, UpstreamDialect};
use crate::providers::{EffortField, Profile};
use crate::upstream::client::{Broken, Call};

/// Members that only OpenRouter knows.
const ROUTER_MEMBERS: &[&str] = &["provider", "transforms", "plugins", "route"];

/// A request ready to be sent.
pub struct Outgoing {
    /// The call.
    pub call: Call,
    /// Names of the client's fields that were left out.
    pub dropped: Vec<String>,
    /// How its answer is to be read.
    pub reading: Reading,
}

/// How an answer is read.
#[derive(Clone)]
pub enum Reading {
    /// It passes through.
    Same(ChatQuirks),
    /// It is translated.
    Translated {
        /// From this dialect.
        dialect: &'static dyn UpstreamDialect,
        /// What was renamed on the way there.
        undo: Undo,
        /// How the client reads calls.
        tools: ToolShape,
    },
}

/// Why a request cannot go to a model.
#[derive(Debug)]
pub enum Unfit {
    /// The model's dialect has no words for a field.
    Cannot(CannotCarry),
    /// The request cannot be understood well enough to be translated.
    Invalid(InvalidRequest),
    /// The provider's address is none.
    Address(Broken),
}

/// One request and what its translations share.
pub struct Outbound<'a> {
    scan: &'a Scan<'a>,
    digest: &'a Digest,
    /// Read at the first translation, and kept for the next.
    decoded: Option<Decoded>,
}

impl<'a> Outbound<'a> {
    /// A request that goes nowhere yet.
    pub fn new(scan: &'a Scan<'a>, digest: &'a Digest) -> Self {
        Self { scan, digest, decoded: None }
    }

    /// The scanned request.
    pub fn scan(&self) -> &'a Scan<'a> {
        self.scan
    }

    /// Writes the request for a model.
    ///
    /// # Errors
    /// [`Unfit`]: nothing was sent, and another model may do.
    pub fn write(&mut self, model: &Model, upstream: &Upstream) -> Result<Outgoing, Unfit> {
        match upstream.translation() {
            None => self.pass(model, upstream),
            Some(dialect) => self.translate(model, upstream, dialect),
        }
    }

    fn pass(&self, model: &Model, upstream: &Upstream) -> Result<Outgoing, Unfit> {
        let profile = &upstream.config.profile;
        let own = profile.effort == EffortField::ReasoningObject;
        let prepared = prepare_passthrough(
            self.scan,
            &Passthrough {
                model,
                chosen: self.chosen(model),
                preset: if profile.reasoning_split { &[("reasoning_split", "true")] } else { &[] },
                foreign: if own { &[] } else { ROUTER_MEMBERS },
                developer: if profile.developer_role { DeveloperRole::Known } else { DeveloperRole::AsSystem },
                details: if own { DetailsUse::Own } else { DetailsUse::Unknown },
            },
        );
        let path = if self.scan.stream { profile.paths.chat_stream } else { profile.paths.chat };
        let url = upstream.url(path).map_err(Unfit::Address)?;
        Ok(Outgoing {
            call: Call { url, headers: upstream.headers.clone(), body: prepared.body },
            dropped: prepared.dropped,
            reading: Reading::Same(quirks(profile)),
        })
    }

    fn translate(
        &mut self,
        model: &Model,
        upstream: &Upstream,
        dialect: &'static dyn UpstreamDialect,
    ) -> Result<Outgoing, Unfit> {
        let decoded = match &self.decoded {
            Some(decoded) => decoded,
            None => self.decoded.insert(decode_request(self.scan).map_err(Unfit::Invalid)?),
        };
        let encoded = dialect.encode_request(&decoded.conversation, model).map_err(Unfit::Cannot)?;
        let mut headers: HeaderMap = upstream.headers.clone();
        headers.extend(encoded.headers);
        let mut dropped = decoded.dropped.clone();
        for name in encoded.dropped {
            if !dropped.contains(&name) {
                dropped.push(name);
            }
        }
        let url = upstream.url(&encoded.path).map_err(Unfit::Address)?;
        Ok(Outgoing {
            call: Call { url, headers, body: encoded.body },
            dropped,
            reading: Reading::Translated { dialect, undo: encoded.undo, tools: decoded.tools },
        })
    }

    /// Whether the client named this very model: then its parameters go as they came.
    fn chosen(&self, model: &Model) -> Chosen {
        match &self.digest.requested {
            Requested::Named { model: name, .. } if model.id.as_str() == name => Chosen::Named,
            Requested::Named { model: name, .. } if model.aliases.iter().any(|alias| alias.as_str() == name) => {
                Chosen::Named
            }
            _ => Chosen::Auto,
        }
    }
}

fn quirks(profile: &Profile) -> ChatQuirks {
    ChatQuirks {
        completion_excludes_reasoning: profile.completion_excludes_reasoning,
        usage_in_choice: profile.usage_in_choice,
    }
}
