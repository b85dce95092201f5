//! Clients' requests.

use std::sync::Arc;

use aipipe::config::{self, Environment};
use aipipe::dialects::client::{Addressed, Chosen, ClientRequest, Target};
use aipipe::dialects::issued::Holdings;
use aipipe::dialects::scan::PromptHasher;
use aipipe::dialects::{surface, upstream};
use aipipe::providers::BUILT_IN;
use aipipe_actors::catalogue::Model;
use aipipe_actors::routing::digest::ClientDialect;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::{Corpus, FEW, answer, assert_bounded, frame, is_json, streamed};
use crate::mutation;
use crate::mutation::json::Spoiling;

/// The models that requests are written for, with their real rules.
struct Models(Vec<Arc<Model>>);

impl Models {
    fn all() -> Self {
        let database = ("AIPIPE_DATABASE".to_owned(), "unused.db".to_owned());
        let environment = Environment::from_iter([database]);
        let config = config::load(None, &environment).unwrap_or_else(|errors| panic!("{errors}"));
        Self(config.catalogue.models().to_vec())
    }

    /// One of this provider's.
    fn at(&self, provider: &str, which: Index) -> &Model {
        let known: Vec<_> = self.0.iter().filter(|model| model.provider.as_str() == provider).collect();
        known[which.index(known.len())]
    }
}

/// What is made of a body; whether it could be read.
fn check(dialect: ClientDialect, body: &[u8], models: &Models, which: Index) -> Result<bool, TestCaseError> {
    let surface = surface(dialect);
    let addressed = Addressed { model: Some("m"), stream: which.index(2) == 1 };
    let request = match surface.scan(body, &addressed) {
        Ok(request) => request,
        Err(invalid) => {
            prop_assert!(!invalid.message.is_empty());
            assert_bounded(invalid.message.len(), body.len())?;
            return Ok(false);
        }
    };
    let facts = request.facts();
    prop_assert!(
        facts.demand.input_tokens <= facts.demand.input_bound,
        "{} > {}",
        facts.demand.input_tokens,
        facts.demand.input_bound
    );
    request.prompt_key(&PromptHasher::default());
    for provider in BUILT_IN.iter().filter(|provider| surface.is_spoken_by(&provider.profile)) {
        let model = models.at(provider.name, which);
        for chosen in [Chosen::Named, Chosen::Auto] {
            let holdings = Holdings::default();
            let passed = request.pass(&Target { model, chosen, profile: &provider.profile, holdings: &holdings });
            assert_bounded(passed.body.len(), body.len())?;
            prop_assert!(is_json(&passed.body) || !is_json(body), "{}: {:?}", provider.name, passed.body);
            if dialect != ClientDialect::Gemini
                && let Ok(read) = serde_json::from_slice::<Value>(&passed.body)
            {
                prop_assert_eq!(&read["model"], model.id.as_str());
            }
            if let Some(counting) = surface.counting() {
                let call = counting.call(passed.body.clone(), model);
                prop_assert!(is_json(&call) || !is_json(&passed.body), "{:?}", call);
            }
        }
    }
    translate(&*request, body, models, which)?;
    Ok(true)
}

/// The request for each provider that speaks otherwise, and what an answer to it looks like.
fn translate(request: &dyn ClientRequest, body: &[u8], models: &Models, which: Index) -> Result<(), TestCaseError> {
    let decoded = match request.decode() {
        Ok(decoded) => decoded,
        Err(invalid) => {
            prop_assert!(!invalid.message.is_empty());
            return Ok(());
        }
    };
    for provider in BUILT_IN {
        let model = models.at(provider.name, which);
        match upstream(&provider.profile).encode_request(&decoded.conversation, model) {
            Ok(encoded) => {
                prop_assert!(is_json(&encoded.body), "{}: {:?}", provider.name, encoded.body);
                assert_bounded(encoded.body.len(), body.len())?;
            }
            Err(cannot) => prop_assert!(!cannot.field.is_empty() && !cannot.reason.is_empty()),
        }
    }
    prop_assert!(is_json(&request.write_answer(&answer(), &frame())));
    assert_bounded(streamed(request).len(), body.len())
}

fn requests(dialect: ClientDialect) {
    let requests = Corpus::of(dialect).requests;
    let models = Models::all();
    let strategy = (any::<Index>(), any::<Index>(), Spoiling::any(), any::<Index>());
    mutation::run(FEW, &strategy, |(document, donor, spoiling, which)| {
        let body = spoiling.spoil(document.get(&requests), donor.get(&requests));
        let wrapped = surface(dialect).counting().map(|counting| counting.request(&body));
        if let Some(wrapped) = wrapped.filter(|wrapped| wrapped.len() < body.len()) {
            check(dialect, wrapped, &models, which)?;
        }
        check(dialect, &body, &models, which)
    });
}

#[test]
fn spoilt_chat_requests() {
    requests(ClientDialect::Chat);
}

#[test]
fn spoilt_messages_requests() {
    requests(ClientDialect::Messages);
}

#[test]
fn spoilt_gemini_requests() {
    requests(ClientDialect::Gemini);
}

#[test]
fn spoilt_responses_requests() {
    requests(ClientDialect::Responses);
}

#[test]
fn spoilt_embeddings_requests() {
    requests(ClientDialect::Embeddings);
}
