//! A request as it goes to one provider: the client's bytes with a few splices where both speak the same, a translation otherwise.

use aipipe_actors::catalogue::Model;
use aipipe_actors::routing::digest::{Digest, Requested};
use http::HeaderMap;

use super::upstreams::Upstream;
use crate::dialects::client::{Chosen, ClientRequest, ClientSurface, Counting, Decoded, Target};
use crate::dialects::issued::Holdings;
use crate::dialects::translate::{CannotCarry, InvalidRequest, Undo};
use crate::upstream::client::{Broken, Call};

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
pub enum Reading {
    /// It passes through.
    Same,
    /// It is translated from the provider's dialect, with what was renamed on the way there.
    Translated(Undo),
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
    /// The client's dialect.
    pub surface: &'static dyn ClientSurface,
    /// The scanned request.
    pub request: &'a dyn ClientRequest,
    digest: &'a Digest,
    /// Headers that go along where the request passes through.
    along: HeaderMap,
    /// What was issued to the tenant, of all that the request names.
    holdings: Holdings,
    /// Read at the first translation, and kept for the next.
    decoded: Option<Decoded>,
}

impl<'a> Outbound<'a> {
    /// A request that goes nowhere yet.
    pub fn new(
        surface: &'static dyn ClientSurface,
        request: &'a dyn ClientRequest,
        digest: &'a Digest,
        along: HeaderMap,
        holdings: Holdings,
    ) -> Self {
        Self { surface, request, digest, along, holdings, decoded: None }
    }

    /// Writes the request for a model.
    ///
    /// # Errors
    /// [`Unfit`]: nothing was sent, and another model may do.
    pub fn write(&mut self, model: &Model, upstream: &Upstream) -> Result<Outgoing, Unfit> {
        if self.surface.is_spoken_by(&upstream.config.profile) {
            self.pass(model, upstream)
        } else {
            self.translate(model, upstream)
        }
    }

    fn pass(&self, model: &Model, upstream: &Upstream) -> Result<Outgoing, Unfit> {
        let profile = &upstream.config.profile;
        let prepared =
            self.request.pass(&Target { model, chosen: self.chosen(model), profile, holdings: &self.holdings });
        let url =
            upstream.url_of(self.surface.path(profile, self.digest.demand.stream), model).map_err(Unfit::Address)?;
        Ok(Outgoing {
            call: Call { url, headers: self.headers(upstream), body: prepared.body },
            dropped: prepared.dropped,
            reading: Reading::Same,
        })
    }

    /// The call that asks a provider of the client's dialect for the number of input tokens; `None` where it does not count.
    pub fn count(&self, model: &Model, upstream: &Upstream, counting: &dyn Counting) -> Option<Call> {
        let profile = &upstream.config.profile;
        let path = counting.path(profile).filter(|_| self.surface.is_spoken_by(profile))?;
        let url = upstream.url_of(path, model).ok()?;
        let prepared =
            self.request.pass(&Target { model, chosen: self.chosen(model), profile, holdings: &self.holdings });
        Some(Call { url, headers: self.headers(upstream), body: counting.call(prepared.body, model) })
    }

    /// The provider's headers, with those of the client's that belong to the dialect.
    fn headers(&self, upstream: &Upstream) -> HeaderMap {
        let mut headers = upstream.headers.clone();
        headers.extend(self.along.clone());
        headers
    }

    fn translate(&mut self, model: &Model, upstream: &Upstream) -> Result<Outgoing, Unfit> {
        let decoded = match &self.decoded {
            Some(decoded) => decoded,
            None => self.decoded.insert(self.request.decode().map_err(Unfit::Invalid)?),
        };
        translation(decoded, model, upstream)
    }

    /// The request in the canonical form, for whoever goes on with its answer.
    ///
    /// # Errors
    /// Where it cannot be said in other words.
    pub fn decoded(&mut self) -> Result<Decoded, InvalidRequest> {
        self.decoded.take().map_or_else(|| self.request.decode(), Ok)
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

/// A request written in a provider's own words.
///
/// # Errors
/// [`Unfit`]: nothing was sent, and another model may do.
pub(super) fn translation(decoded: &Decoded, model: &Model, upstream: &Upstream) -> Result<Outgoing, Unfit> {
    let encoded = upstream.dialect.encode_request(&decoded.conversation, model).map_err(Unfit::Cannot)?;
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
        reading: Reading::Translated(encoded.undo),
    })
}
