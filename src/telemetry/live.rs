//! What only has a value at the moment of a scrape: queues, circuits, the tree of actors, the ledger.
//!
//! Whoever answers the scrape reads it and hands it over; nothing of it is kept, so it cannot go stale.

use std::collections::BTreeMap;

use aipipe_actors::identity::ProviderId;
use aipipe_actors::provider::circuit;
use aipipe_actors::runtime::Node;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::names;
use super::usd::Labels;

/// What only has a value at the moment of a scrape.
#[derive(Debug)]
pub struct Live<'a> {
    /// Every configured provider.
    pub providers: Vec<LiveProvider<'a>>,
    /// The tree of actors, from the root down.
    pub actors: &'a Node,
    /// Restarts by label, as the actor system counts them.
    pub restarts: &'a [(String, u64)],
    /// Ledger rows with the outcome `unsettled`.
    pub unsettled: u64,
    /// The running program.
    pub build: Build<'a>,
}

/// A provider at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub struct LiveProvider<'a> {
    /// Which.
    pub id: &'a ProviderId,
    /// Requests waiting for a place.
    pub queued: usize,
    /// Calls in flight.
    pub in_flight: usize,
    /// The worst of its circuits.
    pub circuit: circuit::State,
}

/// Which program runs.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// Its version.
    pub version: &'a str,
    /// The commit that it was built from, or `unknown`.
    pub commit: &'a str,
}

impl Live<'_> {
    /// A registry of this scrape alone: what it shows is read, not kept.
    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        let providers = |value: fn(&LiveProvider<'_>) -> i64| {
            let family: Family<Labels, Gauge> = Family::default();
            for provider in &self.providers {
                family.get_or_create(&vec![("provider", provider.id.to_string())]).set(value(provider));
            }
            family
        };
        names::QUEUE_DEPTH.register(&mut registry, providers(|provider| gauge(provider.queued)));
        names::IN_FLIGHT.register(&mut registry, providers(|provider| gauge(provider.in_flight)));
        names::CIRCUIT_STATE.register(&mut registry, providers(|provider| provider.circuit.gauge()));

        let restarts: Family<Labels, Counter> = Family::default();
        for (actor, count) in self.restarts {
            restarts.get_or_create(&vec![("actor", actor.clone())]).inc_by(*count);
        }
        names::ACTOR_RESTARTS.register(&mut registry, restarts);

        let mut depths = BTreeMap::new();
        add_mailboxes(&mut depths, self.actors);
        let mailboxes: Family<Labels, Gauge> = Family::default();
        for (actor, depth) in depths {
            mailboxes.get_or_create(&vec![("actor", actor.to_owned())]).set(gauge(depth));
        }
        names::MAILBOX_DEPTH.register(&mut registry, mailboxes);

        let unsettled: Gauge = Gauge::default();
        unsettled.set(i64::try_from(self.unsettled).unwrap_or(i64::MAX));
        names::LEDGER_UNSETTLED.register(&mut registry, unsettled);
        let Build { version, commit } = self.build;
        let build = Info::new(vec![("version", version.to_owned()), ("commit", commit.to_owned())]);
        names::BUILD_INFO.register(&mut registry, build);
        registry
    }
}

/// Adds up the mailboxes of a tree by label: an actor's name, but the kind for tenants, whose number has no bound.
fn add_mailboxes<'a>(depths: &mut BTreeMap<&'a str, usize>, node: &'a Node) {
    let label = if node.kind == "tenant" { node.kind } else { &node.name };
    *depths.entry(label).or_default() += node.mailbox;
    for child in &node.children {
        add_mailboxes(depths, child);
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
