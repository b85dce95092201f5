//! The configuration as an operator meets it: which layer counts, what is refused and how it is said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use aipipe::config::{self, Config, Effect, Environment, TenantAuth};
use aipipe::providers::{BUILT_IN, Dialect};
use aipipe::store::Synchronous;
use aipipe_actors::catalogue::{Capability, Effort, ReasoningControl};
use aipipe_actors::money::{Rate, Tokens};
use aipipe_actors::routing::preferences::OnBreak;
use jiff::civil::date;
use secrecy::ExposeSecret;

/// A configuration file in a directory of its own.
struct File {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("aipipe.toml");
        std::fs::write(&path, text).unwrap();
        Self { _directory: directory, path }
    }

    fn load(&self) -> Config {
        config::load(Some(&self.path), &home()).unwrap()
    }

    /// The problems, one a line, without the directory.
    fn problems(&self, environment: &Environment) -> String {
        let errors = config::load(Some(&self.path), environment).unwrap_err();
        errors.to_string().replace(&format!("{}/", self.path.parent().unwrap().display()), "")
    }
}

fn home() -> Environment {
    Environment::from([("HOME", "/home/ada")])
}

fn with(variables: &[(&str, &str)]) -> Environment {
    let home = [("HOME", "/home/ada")];
    home.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn defaults() -> Config {
    config::load(None, &home()).unwrap()
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

#[test]
fn without_a_file_the_defaults_of_the_contract_hold() {
    let config = defaults();
    assert_eq!(config.server.addr.to_string(), "127.0.0.1:8082");
    assert!(config.admin_secret.is_none() && config.master_key.is_none());
    assert_eq!(config.database.path, Path::new("/home/ada/.local/share/aipipe/aipipe.db"));
    assert_eq!(config.database.synchronous, Synchronous::Normal);
    assert_eq!(config.log, "info");
    assert_eq!(config.server.drain_timeout, Duration::from_secs(600));
    assert_eq!(config.limits.max_body_bytes, 33_554_432);
    assert_eq!((config.limits.max_buffered_bytes, config.limits.max_connections), (536_870_912, 10_000));
    assert_eq!(config.tenants.auth, TenantAuth::Header);
    assert!(!config.tenants.auto_create);
    assert_eq!(config.tenants.max, 10_000);
    let reliability = config.reliability;
    assert_eq!(reliability.connect_timeout, Duration::from_secs(5));
    assert_eq!(reliability.first_byte_timeout, Duration::from_secs(30));
    assert_eq!(reliability.answer_timeout, Duration::from_secs(300));
    assert_eq!(reliability.idle_timeout, Duration::from_secs(30));
    assert_eq!(reliability.keep_alive, Duration::from_secs(15));
    assert_eq!(reliability.total_timeout, Duration::from_secs(600));
    assert_eq!((reliability.max_attempts.get(), reliability.on_break), (3, OnBreak::Error));
    assert_eq!((config.hedge.enabled, config.hedge.max_extra_cost), (false, 0.05));
    assert_eq!(config.cache.ttl, Duration::from_secs(300));
    assert_eq!((config.cache.max_entries, config.cache.max_bytes), (10_000, 268_435_456));
    assert!(!config.metrics.tenant_label);
    let baseline = config.routing.baseline.unwrap();
    assert_eq!((baseline.provider.as_str(), baseline.id.as_str()), ("openai", "gpt-4o"));
}

#[test]
fn the_seven_providers_stand_as_documented() {
    let config = defaults();
    let known: Vec<_> = config
        .providers
        .iter()
        .map(|provider| {
            (provider.id.as_str(), provider.base_url.as_str().trim_end_matches('/'), provider.profile.dialect)
        })
        .collect();
    assert_eq!(
        known,
        [
            ("openai", "https://api.openai.com/v1", Dialect::OpenAi),
            ("anthropic", "https://api.anthropic.com", Dialect::Anthropic),
            ("xai", "https://api.x.ai/v1", Dialect::OpenAi),
            ("openrouter", "https://openrouter.ai/api/v1", Dialect::OpenAi),
            ("minimax", "https://api.minimax.io/v1", Dialect::OpenAi),
            ("moonshot", "https://api.moonshot.ai/v1", Dialect::OpenAi),
            ("gemini", "https://generativelanguage.googleapis.com", Dialect::Gemini),
        ]
    );
    for provider in &config.providers {
        assert!(provider.enabled && provider.key.is_none() && provider.needs_key(), "{}", provider.id);
        assert_eq!((provider.max_in_flight, provider.max_queue), (256, 1024));
    }
}

#[test]
fn the_shipped_file_means_what_no_file_means() {
    let (_, changes) = config::reload(Some(&shipped("aipipe.toml")), &home(), &defaults()).unwrap();
    assert_eq!(changes, []);
}

#[test]
fn the_examples_of_the_shipped_file_hold_too() {
    let text = std::fs::read_to_string(shipped("aipipe.toml")).unwrap();
    let uncommented: Vec<_> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(example) if example.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => example,
            _ => line,
        })
        .collect();
    let config = File::new(&uncommented.join("\n")).load();
    assert_eq!(config.database.path, Path::new("/var/lib/aipipe/aipipe.db"));
    let model = config.catalogue.at_provider("local", "llama-3.3").unwrap();
    assert_eq!(model.id.as_str(), "llama-3.3-70b");
    assert!(model.auto && model.capabilities.contains(Capability::Tools) && model.parameters.refuses("logit_bias"));
    let local = config.provider("local").unwrap();
    assert_eq!(local.key_variable.as_deref(), Some("LOCAL_API_KEY"));
}

#[test]
fn the_environment_counts_more_than_the_file_and_the_file_more_than_the_defaults() {
    let file = File::new(
        r#"
        [server]
        addr = "127.0.0.1:1"
        [log]
        filter = "debug"
        [providers.xai]
        base_url = "http://127.0.0.1:1/v1/"
        max_queue = 7
        [providers.my-llm]
        dialect = "anthropic"
        base_url = "http://127.0.0.1:2"
        "#,
    );
    let environment = with(&[
        ("AIPIPE_ADDR", "127.0.0.1:2"),
        ("AIPIPE_XAI_BASE_URL", "http://127.0.0.1:9/v1"),
        ("AIPIPE_MY_LLM_BASE_URL", "http://127.0.0.1:3"),
        ("AIPIPE_MOONSHOT_BASE_URL", "http://127.0.0.1:4/v1"),
        ("AIPIPE_DATABASE", "/tmp/some.db"),
        ("AIPIPE_LOG", ""),
    ]);
    let config = config::load(Some(&file.path), &environment).unwrap();
    assert_eq!(config.server.addr.to_string(), "127.0.0.1:2");
    assert_eq!(config.log, "debug", "an empty variable counts as unset");
    assert_eq!(config.database.path, Path::new("/tmp/some.db"));
    let address = |name: &str| config.provider(name).unwrap().base_url.to_string();
    assert_eq!(address("xai"), "http://127.0.0.1:9/v1");
    assert_eq!(config.provider("xai").unwrap().max_queue, 7);
    assert_eq!(address("my-llm"), "http://127.0.0.1:3/");
    assert_eq!(address("moonshot"), "http://127.0.0.1:4/v1");
    assert!(!config.provider("my-llm").unwrap().needs_key());
}

#[test]
fn the_file_is_named_by_the_argument_before_the_variable() {
    let (argument, variable) = (File::new("[log]\nfilter = \"warn\""), File::new("[log]\nfilter = \"error\""));
    let environment = with(&[("AIPIPE_CONFIG", variable.path.to_str().unwrap())]);
    assert_eq!(config::load(None, &environment).unwrap().log, "error");
    assert_eq!(config::load(Some(&argument.path), &environment).unwrap().log, "warn");
}

#[test]
fn keys_come_from_the_first_variable_that_is_set() {
    let config =
        config::load(None, &with(&[("KIMI_API_KEY", "kimi"), ("GOOGLE_API_KEY", "g"), ("GEMINI_API_KEY", "gem")]))
            .unwrap();
    let key = |name: &str| config.provider(name).unwrap().key.as_ref().map(|key| key.expose_secret().to_owned());
    assert_eq!(key("moonshot").as_deref(), Some("kimi"));
    assert_eq!(key("gemini").as_deref(), Some("gem"));
    assert_eq!(key("openai"), None);
    let shown = format!("{config:?}");
    assert!(!shown.contains("kimi\"") && !shown.contains("\"gem\""));
}

#[test]
fn another_variable_that_the_file_names_is_the_only_one() {
    let file = File::new("[providers.moonshot]\napi_key_env = \"OUR_KEY\"");
    let config = config::load(Some(&file.path), &with(&[("MOONSHOT_API_KEY", "theirs")])).unwrap();
    assert!(config.provider("moonshot").unwrap().key.is_none());
    let usual = File::new("[providers.moonshot]\napi_key_env = \"MOONSHOT_API_KEY\"");
    let config = config::load(Some(&usual.path), &with(&[("KIMI_API_KEY", "theirs")])).unwrap();
    assert!(config.provider("moonshot").unwrap().key.is_some(), "its other usual variable still counts");
}

#[test]
fn every_problem_is_listed_with_its_place_and_what_is_allowed() {
    let file = File::new(
        r#"[server]
adress = "127.0.0.1:1"

[limits]
max_body_bytes = "big"

[providers.openal]
enabled = true

[providers.openai]
dialect = "gemini"
base_url = "ftp://example.org"
max_in_flight = 0

[[models]]
provider = "opanai"
id = "x"

[[models]]
provider = "openal"
id = "reported-with-its-provider"

[[models]]
provider = "openai"
id = "y"
input = 1
quality = 1.5
capabilities = ["tools", "imagse"]

[routing]
baseline = "openai/gpt-4oo"

[reliability]
on_break = "mend"

[hedge]
max_extra_cost = 2
"#,
    );
    let environment =
        with(&[("AIPIPE_ADDR", "localhost"), ("AIPIPE_MASTER_KEY", "short-secret"), ("AIPIPE_LOG", "aipipe=loud")]);
    let problems = file.problems(&environment);
    for expected in [
        "aipipe.toml:2: server.adress: unknown key; did you mean addr? Allowed here: addr",
        "aipipe.toml:5: limits.max_body_bytes: must be a whole number, 0 or more, not \"big\"",
        "aipipe.toml:7: providers.openal: a provider that is not built in needs a dialect and a base_url; did you mean openai?",
        "aipipe.toml:11: providers.openai.dialect: openai speaks \"openai\" and nothing else",
        "aipipe.toml:12: providers.openai.base_url: must be an http or https address",
        "aipipe.toml:13: providers.openai.max_in_flight: must be from 1 to 100000, not 0",
        "aipipe.toml:16: models[0].provider: there is no provider \"opanai\"; did you mean openai?",
        "aipipe.toml:23: models[2]: a price needs both input and output",
        "aipipe.toml:27: models[2].quality: must be above 0 and at most 1, not 1.5",
        "aipipe.toml:28: models[2].capabilities: must be one of tools, ",
        "aipipe.toml:31: routing.baseline: must name a model of the catalogue that has a price, as \"openai/gpt-4o\"; did you mean openai/gpt-4o?",
        "aipipe.toml:34: reliability.on_break: must be one of \"error\", \"continue\", not \"mend\"",
        "aipipe.toml:37: hedge.max_extra_cost: must be a share from 0 to 1, not 2",
        "AIPIPE_ADDR: must be an IP address and port",
        "AIPIPE_LOG: must be a level",
        "AIPIPE_MASTER_KEY: must be 32 bytes",
    ] {
        assert!(problems.contains(expected), "missing: {expected}\nin:\n{problems}");
    }
    assert_eq!(problems.lines().count(), 16, "{problems}");
    assert!(
        problems.starts_with("aipipe.toml:2:") && problems.lines().last().unwrap().starts_with("AIPIPE_"),
        "by line, the environment last: {problems}"
    );
    assert!(!problems.contains("short-secret"));
}

#[test]
fn a_secret_in_the_wrong_place_is_refused_and_not_repeated() {
    let text = "[providers.openai]\napi_key_env = \"sk-leak\"\nbase_url = \"https://me:leak@example.org\"\napi_key = \"leak\"\n";
    let problems = File::new(text).problems(&home());
    assert!(
        problems.contains("aipipe.toml:2: providers.openai.api_key_env: must be the name of an environment variable")
    );
    assert!(problems.contains("aipipe.toml:4: providers.openai.api_key: unknown key; did you mean api_key_env?"));
    assert!(!problems.contains("leak"), "{problems}");
}

#[test]
fn a_text_that_is_not_toml_is_refused_with_its_line() {
    let problems = File::new("[server]\naddr = \n").problems(&home());
    assert!(problems.starts_with("aipipe.toml:2: not TOML: "), "{problems}");
    let twice = File::new("[providers.xai]\nenabled = true\n[providers.xai]\nenabled = false\n").problems(&home());
    assert!(twice.starts_with("aipipe.toml:3: not TOML: duplicate key"), "{twice}");
    let missing = config::load(Some(Path::new("/nowhere/aipipe.toml")), &home()).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/aipipe.toml: cannot be read"), "{missing}");
}

#[test]
fn a_header_decides_the_tenant_only_where_nobody_else_can_set_it() {
    let auth = |text: &str, trust: &str| {
        let file = File::new(text);
        config::load(Some(&file.path), &with(&[("AIPIPE_TRUST_TENANT_HEADER", trust)]))
            .map(|config| config.tenants.auth)
    };
    let open = "[server]\naddr = \"0.0.0.0:8082\"\n[tenants]\nauth = ";
    assert_eq!(auth("", "0"), Ok(TenantAuth::Header));
    assert_eq!(auth("[server]\naddr = \"[::ffff:127.0.0.1]:1\"", "0"), Ok(TenantAuth::Header));
    assert_eq!(auth("[tenants]\nauth = \"token\"", "0"), Ok(TenantAuth::Token));
    assert_eq!(auth(&format!("{open}\"auto\""), "0"), Ok(TenantAuth::Token));
    assert_eq!(auth(&format!("{open}\"auto\""), "1"), Ok(TenantAuth::Header));
    assert_eq!(auth(&format!("{open}\"header\""), "1"), Ok(TenantAuth::Header));
    let refused = auth(&format!("{open}\"header\""), "0").unwrap_err().to_string();
    assert!(refused.contains("tenants.auth") && refused.contains("AIPIPE_TRUST_TENANT_HEADER=1"), "{refused}");
    assert!(auth("", "yes").unwrap_err().to_string().contains("must be 0 or 1"));
}

#[test]
fn only_sqlite_stores() {
    let database = |value: &str| config::load(None, &with(&[("AIPIPE_DATABASE", value)]));
    let refused = database("postgres://db/aipipe").unwrap_err().to_string();
    assert_eq!(refused, "AIPIPE_DATABASE: this build stores in SQLite only: give the path of a file");
    let data = Environment::from([("XDG_DATA_HOME", "/data"), ("HOME", "/home/ada")]);
    assert_eq!(config::load(None, &data).unwrap().database.path, Path::new("/data/aipipe/aipipe.db"));
    assert_eq!(database("~/a.db").unwrap().database.path, Path::new("/home/ada/a.db"));
    assert!(config::load(None, &Environment::default()).unwrap_err().to_string().starts_with("AIPIPE_DATABASE: "));
}

#[test]
fn a_first_byte_timeout_alone_counts_for_whole_answers_too() {
    let reliability = File::new("[reliability]\nfirst_byte_timeout_ms = 1500").load().reliability;
    assert_eq!(reliability.answer_timeout, Duration::from_millis(1500));
    let both = File::new("[reliability]\nfirst_byte_timeout_ms = 1500\nanswer_timeout_ms = 9").load().reliability;
    assert_eq!(both.answer_timeout, Duration::from_millis(9));
}

#[test]
fn prices_are_read_to_the_digit() {
    let file = File::new(
        r#"
        [[models]]
        provider = "openai"
        id = "dear"
        input = 0.123456789
        cached_input = 1_000
        cache_write = "0.15"
        output = 0.10
        "#,
    );
    let rates = file.load().catalogue.at_provider("openai", "dear").unwrap().rates.unwrap();
    assert_eq!(
        [rates.input, rates.cached_input, rates.cache_write, rates.output],
        [Rate(123_456_789), Rate(1_000_000_000_000), Rate(150_000_000), Rate(100_000_000)]
    );
    for wrong in ["-1", "0.1234567891", "1e-3", "nan", "true"] {
        let problems =
            File::new(&format!("[[models]]\nprovider = \"openai\"\nid = \"x\"\noutput = 1\ninput = {wrong}\n"))
                .problems(&home());
        assert!(problems.contains("models[0].input: must be a price"), "{wrong}: {problems}");
    }
}

#[test]
fn a_models_table_overrides_the_fields_it_names_and_keeps_the_others() {
    let config = File::new("[[models]]\nprovider = \"openai\"\nid = \"gpt-4o-mini\"\noutput = 0.7\n").load();
    let model = config.catalogue.at_provider("openai", "gpt-4o-mini-2024-07-18").unwrap();
    let rates = model.rates.unwrap();
    assert_eq!(
        (rates.input, rates.cached_input, rates.output),
        (Rate(150_000_000), Rate(75_000_000), Rate(700_000_000))
    );
    assert_eq!(model.context_tokens, 128_000);
    assert!(config.catalogue.models().len() > 100);
}

#[test]
fn a_declared_model_without_figures_gets_the_documented_ones() {
    let file = File::new(
        r#"
        [routing]
        catalogue = "replace"
        [providers.local]
        dialect = "openai"
        base_url = "http://127.0.0.1:8000/v1"
        [[models]]
        provider = "local"
        id = "org/priced"
        input = 1
        output = 2
        [[models]]
        provider = "local"
        id = "unpriced"
        context_tokens = 2000
        "#,
    );
    let config = file.load();
    assert_eq!(config.catalogue.models().len(), 2, "replace leaves only the file's models");
    assert!(config.routing.baseline.is_none());
    let priced = config.catalogue.at_provider("local", "org/priced").unwrap();
    assert!(priced.auto);
    assert_eq!(priced.quality, config::DEFAULT_QUALITY);
    assert_eq!((priced.context_tokens, priced.max_output_tokens), (32_768, 4_096));
    assert_eq!(priced.rates.unwrap().cache_write, Rate(1_000_000_000));
    let unpriced = config.catalogue.at_provider("local", "unpriced").unwrap();
    assert!(unpriced.rates.is_none() && unpriced.auto, "the decision says why it is not chosen");
    assert_eq!(unpriced.max_output_tokens, 2_000);
}

#[test]
fn one_model_twice_in_a_file_is_refused() {
    let twice = "[[models]]\nprovider = \"openai\"\nid = \"gpt-4o\"\noutput = 1\n".repeat(2);
    assert!(File::new(&twice).problems(&home()).contains("openai/gpt-4o stands twice in this file"));
}

#[test]
fn the_built_in_catalogue_has_what_routing_needs() {
    let config = defaults();
    for provider in &BUILT_IN {
        assert!(
            config.catalogue.models().iter().any(|model| model.provider.as_str() == provider.name),
            "{}",
            provider.name
        );
    }
    for model in config.catalogue.models() {
        assert!(model.rates.is_some() && model.context_tokens > 0, "{}/{}", model.provider, model.id);
        let embeddings = model.capabilities.contains(Capability::Embeddings);
        assert!(!(model.auto && embeddings), "{}", model.id);
        let efforts = &model.parameters.efforts;
        assert!(efforts.is_sorted(), "{}: {efforts:?}", model.id);
        let fetches = matches!(model.provider.as_str(), "openai" | "anthropic" | "xai" | "openrouter");
        assert!(fetches || !model.capabilities.contains(Capability::ImageUrl), "{}", model.id);
    }
    let mini = config.catalogue.at_provider("openai", "gpt-4o-mini").unwrap();
    assert_eq!(
        mini.rates.unwrap().cost(&Tokens { input: 123, output: 400, ..Tokens::default() }).to_string(),
        "0.000258450"
    );
    assert!(mini.auto && (mini.quality - 0.093).abs() < 0.005);
    assert!(config.catalogue.at_provider("openai", "gpt-4.1-nano").is_none(), "retired before the catalogue was made");
}

#[test]
fn parameter_limits_differ_by_model_and_hold_what_the_dialect_refuses() {
    let catalogue = defaults().catalogue;
    let limits = |provider: &str, model: &str| catalogue.at_provider(provider, model).unwrap().parameters.clone();
    let sonnet = limits("anthropic", "claude-sonnet-4-5");
    assert!(sonnet.refuses("logit_bias") && sonnet.refuses("n") && !sonnet.refuses("temperature"));
    assert_eq!(sonnet.reasoning, ReasoningControl::Budget);
    let opus = limits("anthropic", "claude-opus-4-7");
    assert!(opus.refuses("temperature"));
    assert_eq!((opus.reasoning, opus.nearest_effort(Effort::Max)), (ReasoningControl::Adaptive, Effort::Max));
    assert_eq!(limits("anthropic", "claude-opus-4-6").nearest_effort(Effort::Xhigh), Effort::High);
    assert!(limits("openai", "o3").max_completion_tokens && limits("openai", "o3").refuses("stop"));
    assert!(!limits("openai", "gpt-4o").max_completion_tokens && limits("openai", "gpt-4o").refuses.is_empty());
    assert!(limits("gemini", "gemini-2.5-flash").refuses("logit_bias"));
    assert_eq!(limits("gemini", "gemini-3.5-flash").reasoning, ReasoningControl::Level);
    assert!(
        limits("moonshot", "kimi-k2.6").refuses("temperature") && limits("moonshot", "kimi-k2.6").refuses("logit_bias")
    );
    let prefill =
        |model: &str| catalogue.at_provider("anthropic", model).unwrap().capabilities.contains(Capability::Prefill);
    assert!(prefill("claude-haiku-4-5") && !prefill("claude-opus-4-6"));
}

#[test]
fn retirements_are_warned_of_thirty_days_ahead() {
    let config = defaults();
    let names = |today| -> Vec<_> { config.retiring(today).map(|(model, _)| model.id.to_string()).collect() };
    assert!(!names(date(2026, 12, 14)).contains(&"gpt-4o".to_owned()));
    assert!(names(date(2026, 12, 15)).contains(&"gpt-4o".to_owned()));
    assert!(config.catalogue.at_provider("openai", "gpt-4o").unwrap().retired(date(2027, 1, 14)));
}

#[test]
fn the_benchmark_catalogue_switches_where_it_says() {
    let catalogue = config::benchmark_catalogue().unwrap();
    assert_eq!(catalogue.models().len(), 3);
    let model = |provider: &str, id: &str| catalogue.at_provider(provider, id).unwrap();
    let (mini, sonnet) = (model("openai", "gpt-4o-mini"), model("anthropic", "claude-sonnet-4-5"));
    assert!(catalogue.models().iter().all(|model| model.auto && model.retires_on.is_none()));
    let tokens = Tokens { input: 1000, output: 500, ..Tokens::default() };
    let cost = |model: &aipipe_actors::catalogue::Model| model.rates.unwrap().cost(&tokens).as_usd_f64();
    // adjusted = raw / quality^((complexity - 0.25) * 6) is equal for both at:
    let exponent = (cost(sonnet) / cost(mini)).ln() / (sonnet.quality / mini.quality).ln();
    let complexity = 0.25 + exponent / 6.0;
    assert!((0.71..0.735).contains(&complexity), "{complexity}");
}

#[test]
fn a_reload_says_what_changed_and_keeps_what_needs_a_restart() {
    let running = defaults();
    let file = File::new(
        r#"
        [server]
        addr = "0.0.0.0:80"
        [cache]
        ttl_seconds = 1
        [providers.xai]
        enabled = false
        [providers.local]
        dialect = "openai"
        base_url = "http://127.0.0.1:8000/v1"
        [[models]]
        provider = "openai"
        id = "gpt-4o"
        output = 11
        [[models]]
        provider = "local"
        id = "llama"
        "#,
    );
    let (config, changes) =
        config::reload(Some(&file.path), &with(&[("OPENAI_API_KEY", "sk-secret")]), &running).unwrap();
    let said: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "server.addr: 127.0.0.1:8082 becomes 0.0.0.0:80 (with the next start)",
            "tenants.auth: Header becomes Token (with the next start)",
            "cache.ttl_seconds: 300s becomes 1s",
            "providers.openai key: changed",
            "providers.xai.enabled: true becomes false",
            "providers.local: added",
            "models local/llama: added",
            "models openai/gpt-4o: changed",
        ]
    );
    assert_eq!(config.server, running.server);
    assert_eq!(config.tenants.auth, TenantAuth::Header);
    assert_eq!(config.catalogue.revision(), running.catalogue.revision() + 1);
    let waiting = changes.iter().filter(|change| change.effect == Effect::NeedsRestart).count();
    assert_eq!(waiting, 2);
    assert!(config::reload(Some(&File::new("x = 1").path), &home(), &running).is_err());
}

#[test]
fn endpoints_join_base_path_and_model() {
    let file = File::new("[providers.gemini]\nbase_url = \"http://127.0.0.1:1/\"\n");
    let config = file.load();
    let gemini = config.provider("gemini").unwrap();
    let model = aipipe_actors::identity::ModelId::parse("tuned/é-1.5").unwrap();
    assert_eq!(
        gemini.endpoint(gemini.profile.paths.chat_stream, &model),
        "http://127.0.0.1:1/v1beta/models/tuned%2F%C3%A9-1.5:streamGenerateContent?alt=sse"
    );
    let openai = config.provider("openai").unwrap();
    assert_eq!(openai.endpoint(openai.profile.paths.chat, &model), "https://api.openai.com/v1/chat/completions");
}
