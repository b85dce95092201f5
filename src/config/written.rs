//! The configuration as written: every key optional, each value with its place, nothing decided.
//!
//! A file and the environment both produce this form; the one that counts more is laid over the other. What the values mean together is
//! decided in `check.rs`.

use std::net::SocketAddr;

use aipipe_actors::catalogue::{Capability, Effort, ReasoningControl};
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::money::Rate;
use aipipe_actors::routing::preferences::OnBreak;
use jiff::civil::Date;
use url::Url;

use super::document::{Found, Section};
use super::errors::Place;
use super::values::{CatalogueMode, TenantAuthWritten, VariableName};
use crate::providers::Dialect;
use crate::store::Synchronous;

/// The whole of it.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) addr: Option<Found<SocketAddr>>,
    pub(super) log_filter: Option<Found<String>>,
    pub(super) database_path: Option<Found<String>>,
    pub(super) synchronous: Option<Found<Synchronous>>,
    pub(super) drain_timeout: Option<Found<u64>>,
    pub(super) max_body_bytes: Option<Found<u64>>,
    pub(super) max_buffered_bytes: Option<Found<u64>>,
    pub(super) max_connections: Option<Found<u64>>,
    pub(super) providers: Vec<WrittenProvider>,
    pub(super) models: Vec<WrittenModel>,
    pub(super) routing: WrittenRouting,
    pub(super) tenants: WrittenTenants,
    pub(super) reliability: WrittenReliability,
    pub(super) hedge: WrittenHedge,
    pub(super) cache: WrittenCache,
    pub(super) tenant_label: Option<Found<bool>>,
    pub(super) telemetry_content: Option<Found<bool>>,
}

/// `[providers.NAME]`.
#[derive(Debug)]
pub(super) struct WrittenProvider {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) enabled: Option<Found<bool>>,
    pub(super) dialect: Option<Found<Dialect>>,
    pub(super) base_url: Option<Found<Url>>,
    pub(super) api_key_env: Option<Found<VariableName>>,
    pub(super) max_in_flight: Option<Found<u64>>,
    pub(super) max_queue: Option<Found<u64>>,
}

/// `[[models]]`, in a configuration file as in the built-in catalogue.
#[derive(Debug, Clone)]
pub(super) struct WrittenModel {
    pub(super) place: Place,
    pub(super) provider: Option<Found<ProviderId>>,
    pub(super) id: Option<Found<ModelId>>,
    pub(super) aliases: Option<Found<Vec<ModelId>>>,
    pub(super) input: Option<Found<Rate>>,
    pub(super) cached_input: Option<Found<Rate>>,
    pub(super) cache_write: Option<Found<Rate>>,
    pub(super) output: Option<Found<Rate>>,
    pub(super) long_context: Option<WrittenLongContext>,
    pub(super) quality: Option<Found<f64>>,
    pub(super) auto: Option<Found<bool>>,
    pub(super) retires_on: Option<Found<Date>>,
    pub(super) context_tokens: Option<Found<u64>>,
    pub(super) max_output_tokens: Option<Found<u64>>,
    pub(super) capabilities: Option<Found<Vec<Capability>>>,
    pub(super) token_ratio: Option<Found<f64>>,
    pub(super) added_tokens: WrittenAddedTokens,
    pub(super) parameters: WrittenParameters,
}

/// `added_tokens` of a model.
#[derive(Debug, Clone, Default)]
pub(super) struct WrittenAddedTokens {
    pub(super) request: Option<Found<u64>>,
    pub(super) tools: Option<Found<u64>>,
}

/// `long_context` of a model.
#[derive(Debug, Clone)]
pub(super) struct WrittenLongContext {
    pub(super) place: Place,
    pub(super) threshold_tokens: Option<Found<u64>>,
    pub(super) input: Option<Found<Rate>>,
    pub(super) output: Option<Found<Rate>>,
}

/// `parameters` of a model.
#[derive(Debug, Clone, Default)]
pub(super) struct WrittenParameters {
    pub(super) refuses: Option<Found<Vec<String>>>,
    pub(super) max_completion_tokens: Option<Found<bool>>,
    pub(super) reasoning: Option<Found<ReasoningControl>>,
    pub(super) efforts: Option<Found<Vec<Effort>>>,
}

/// `[routing]`.
#[derive(Debug, Default)]
pub(super) struct WrittenRouting {
    pub(super) catalogue: Option<Found<CatalogueMode>>,
    pub(super) baseline: Option<Found<String>>,
}

/// `[tenants]`.
#[derive(Debug, Default)]
pub(super) struct WrittenTenants {
    pub(super) auth: Option<Found<TenantAuthWritten>>,
    pub(super) auto_create: Option<Found<bool>>,
    pub(super) max: Option<Found<u64>>,
}

/// `[reliability]`; times in milliseconds.
#[derive(Debug, Default)]
pub(super) struct WrittenReliability {
    pub(super) connect_timeout: Option<Found<u64>>,
    pub(super) first_byte_timeout: Option<Found<u64>>,
    pub(super) answer_timeout: Option<Found<u64>>,
    pub(super) idle_timeout: Option<Found<u64>>,
    pub(super) keep_alive: Option<Found<u64>>,
    pub(super) total_timeout: Option<Found<u64>>,
    pub(super) max_attempts: Option<Found<u64>>,
    pub(super) on_break: Option<Found<OnBreak>>,
}

/// `[hedge]`.
#[derive(Debug, Default)]
pub(super) struct WrittenHedge {
    pub(super) enabled: Option<Found<bool>>,
    pub(super) max_extra_cost: Option<Found<f64>>,
}

/// `[cache]`.
#[derive(Debug, Default)]
pub(super) struct WrittenCache {
    pub(super) ttl_seconds: Option<Found<u64>>,
    pub(super) max_entries: Option<Found<u64>>,
    pub(super) max_bytes: Option<Found<u64>>,
}

impl Written {
    /// Reads a whole file.
    pub(super) fn read(mut root: Section<'_, '_>) -> Self {
        let mut written = Self::default();
        if let Some(mut server) = root.section("server") {
            written.addr = server.take("addr");
            written.drain_timeout = server.take("drain_timeout_ms");
            server.finish();
        }
        if let Some(mut log) = root.section("log") {
            written.log_filter = log.take("filter");
            log.finish();
        }
        if let Some(mut database) = root.section("database") {
            written.database_path = database.take("path");
            written.synchronous = database.take("synchronous");
            database.finish();
        }
        if let Some(mut limits) = root.section("limits") {
            written.max_body_bytes = limits.take("max_body_bytes");
            written.max_buffered_bytes = limits.take("max_buffered_bytes");
            written.max_connections = limits.take("max_connections");
            limits.finish();
        }
        let providers = root.named_sections("providers");
        written.providers = providers.into_iter().map(|(name, section)| WrittenProvider::read(name, section)).collect();
        written.models = root.list("models").into_iter().map(WrittenModel::read).collect();
        if let Some(mut routing) = root.section("routing") {
            written.routing =
                WrittenRouting { catalogue: routing.take("catalogue"), baseline: routing.take("baseline") };
            routing.finish();
        }
        if let Some(section) = root.section("tenants") {
            written.tenants = WrittenTenants::read(section);
        }
        if let Some(section) = root.section("reliability") {
            written.reliability = WrittenReliability::read(section);
        }
        if let Some(mut hedge) = root.section("hedge") {
            written.hedge =
                WrittenHedge { enabled: hedge.take("enabled"), max_extra_cost: hedge.take("max_extra_cost") };
            hedge.finish();
        }
        if let Some(section) = root.section("cache") {
            written.cache = WrittenCache::read(section);
        }
        if let Some(mut metrics) = root.section("metrics") {
            written.tenant_label = metrics.take("tenant_label");
            metrics.finish();
        }
        if let Some(mut telemetry) = root.section("telemetry") {
            written.telemetry_content = telemetry.take("content");
            telemetry.finish();
        }
        root.finish();
        written
    }
}

impl WrittenProvider {
    /// A provider of which nothing is written but its name.
    pub(super) fn named(name: String, place: Place) -> Self {
        Self {
            name,
            place,
            enabled: None,
            dialect: None,
            base_url: None,
            api_key_env: None,
            max_in_flight: None,
            max_queue: None,
        }
    }

    fn read(name: String, mut section: Section<'_, '_>) -> Self {
        let written = Self {
            place: section.place(),
            name,
            enabled: section.take("enabled"),
            dialect: section.take("dialect"),
            base_url: section.take("base_url"),
            api_key_env: section.take("api_key_env"),
            max_in_flight: section.take("max_in_flight"),
            max_queue: section.take("max_queue"),
        };
        section.finish();
        written
    }
}

impl WrittenModel {
    /// Reads one model.
    pub(super) fn read(mut section: Section<'_, '_>) -> Self {
        let written = Self {
            place: section.place(),
            provider: section.take("provider"),
            id: section.take("id"),
            aliases: section.take("aliases"),
            input: section.take("input"),
            cached_input: section.take("cached_input"),
            cache_write: section.take("cache_write"),
            output: section.take("output"),
            long_context: section.section("long_context").map(WrittenLongContext::read),
            quality: section.take("quality"),
            auto: section.take("auto"),
            retires_on: section.take("retires_on"),
            context_tokens: section.take("context_tokens"),
            max_output_tokens: section.take("max_output_tokens"),
            capabilities: section.take("capabilities"),
            token_ratio: section.take("token_ratio"),
            added_tokens: section.section("added_tokens").map(WrittenAddedTokens::read).unwrap_or_default(),
            parameters: section.section("parameters").map(WrittenParameters::read).unwrap_or_default(),
        };
        // For people only: where the figures come from.
        section.take::<String>("source");
        section.take::<String>("source_date");
        section.finish();
        written
    }

    /// This model laid over `under`: what is written here counts, the rest comes from there.
    pub(super) fn over(self, under: Self) -> Self {
        Self {
            place: self.place,
            provider: self.provider.or(under.provider),
            id: self.id.or(under.id),
            aliases: self.aliases.or(under.aliases),
            input: self.input.or(under.input),
            cached_input: self.cached_input.or(under.cached_input),
            cache_write: self.cache_write.or(under.cache_write),
            output: self.output.or(under.output),
            long_context: self.long_context.or(under.long_context),
            quality: self.quality.or(under.quality),
            auto: self.auto.or(under.auto),
            retires_on: self.retires_on.or(under.retires_on),
            context_tokens: self.context_tokens.or(under.context_tokens),
            max_output_tokens: self.max_output_tokens.or(under.max_output_tokens),
            capabilities: self.capabilities.or(under.capabilities),
            token_ratio: self.token_ratio.or(under.token_ratio),
            added_tokens: WrittenAddedTokens {
                request: self.added_tokens.request.or(under.added_tokens.request),
                tools: self.added_tokens.tools.or(under.added_tokens.tools),
            },
            parameters: WrittenParameters {
                refuses: self.parameters.refuses.or(under.parameters.refuses),
                max_completion_tokens: self.parameters.max_completion_tokens.or(under.parameters.max_completion_tokens),
                reasoning: self.parameters.reasoning.or(under.parameters.reasoning),
                efforts: self.parameters.efforts.or(under.parameters.efforts),
            },
        }
    }
}

impl WrittenLongContext {
    fn read(mut section: Section<'_, '_>) -> Self {
        let written = Self {
            place: section.place(),
            threshold_tokens: section.take("threshold_tokens"),
            input: section.take("input"),
            output: section.take("output"),
        };
        section.finish();
        written
    }
}

impl WrittenAddedTokens {
    fn read(mut section: Section<'_, '_>) -> Self {
        let written = Self { request: section.take("request"), tools: section.take("tools") };
        section.finish();
        written
    }
}

impl WrittenParameters {
    fn read(mut section: Section<'_, '_>) -> Self {
        let written = Self {
            refuses: section.take("refuses"),
            max_completion_tokens: section.take("max_completion_tokens"),
            reasoning: section.take("reasoning"),
            efforts: section.take("efforts"),
        };
        section.finish();
        written
    }
}

impl WrittenTenants {
    fn read(mut section: Section<'_, '_>) -> Self {
        let written =
            Self { auth: section.take("auth"), auto_create: section.take("auto_create"), max: section.take("max") };
        section.finish();
        written
    }
}

impl WrittenReliability {
    fn read(mut section: Section<'_, '_>) -> Self {
        let written = Self {
            connect_timeout: section.take("connect_timeout_ms"),
            first_byte_timeout: section.take("first_byte_timeout_ms"),
            answer_timeout: section.take("answer_timeout_ms"),
            idle_timeout: section.take("idle_timeout_ms"),
            keep_alive: section.take("keep_alive_ms"),
            total_timeout: section.take("total_timeout_ms"),
            max_attempts: section.take("max_attempts"),
            on_break: section.take("on_break"),
        };
        section.finish();
        written
    }
}

impl WrittenCache {
    fn read(mut section: Section<'_, '_>) -> Self {
        let written = Self {
            ttl_seconds: section.take("ttl_seconds"),
            max_entries: section.take("max_entries"),
            max_bytes: section.take("max_bytes"),
        };
        section.finish();
        written
    }
}
