//! `aipipe import litellm`, run as a person runs it: what it writes must be a configuration that runs.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;

/// A proxy as teams run it.
const PROXY: &str = r#"
model_list:
  - model_name: fast
    litellm_params:
      model: openai/gpt-4o-mini
      api_key: os.environ/OPENAI_API_KEY
      rpm: 6000
  - model_name: fast
    litellm_params:
      model: anthropic/claude-haiku-4-5
      api_key: os.environ/TEAM_ANTHROPIC_KEY
  - model_name: gpt-4o
    litellm_params:
      model: gpt-4o
      api_key: sk-a-key-that-stands-in-the-file
      input_cost_per_token: 0.0000024
      output_cost_per_token: 9.5e-06
  - model_name: llama
    litellm_params: &vllm
      model: hosted_vllm/meta-llama/Llama-3.3-70B-Instruct
      api_base: http://10.0.0.5:8000/v1
      api_key: os.environ/VLLM_KEY
    model_info:
      max_input_tokens: 131072
      max_output_tokens: 8192
      supports_function_calling: true
      supports_vision: false
      input_cost_per_token: 0
      output_cost_per_token: 0
  - model_name: llama-quick
    litellm_params:
      <<: *vllm
      model: hosted_vllm/meta-llama/Llama-3.1-8B-Instruct
  - model_name: deep
    litellm_params:
      model: groq/deepseek-r1-distill-llama-70b
      api_key: os.environ/GROQ_API_KEY
  - model_name: azure-gpt
    litellm_params:
      model: azure/my-deployment
      api_base: https://my.openai.azure.com
      api_version: "2024-08-01-preview"
  - model_name: "xai/*"
    litellm_params:
      model: "xai/*"
litellm_settings:
  num_retries: 2
  request_timeout: 120
  drop_params: true
  callbacks: ["langfuse"]
  fallbacks: [{"gpt-4o": ["fast"]}]
router_settings:
  routing_strategy: usage-based-routing-v2
  model_group_alias: {"gpt-4": "gpt-4o", "turbo": {"model": "fast", "hidden": true}}
general_settings:
  master_key: sk-the-master-key
  database_url: os.environ/DATABASE_URL
"#;

/// What was written, and the report.
fn import(yaml: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    let output = command.env_clear().args(["import", "litellm"]).arg(&file).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Whether `aipipe check` takes it, and what it says.
fn checked(toml: &str) -> (bool, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), toml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    let variables = [("HOME", "/nonexistent"), ("TEAM_ANTHROPIC_KEY", "k"), ("VLLM_KEY", "k")];
    let output = command.env_clear().envs(variables).arg("--config").arg(file.path()).arg("check").output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// The table of a model.
fn model<'a>(toml: &'a str, id: &str) -> &'a str {
    let tables = toml.split("[[models]]\n");
    tables.into_iter().find(|table| table.contains(&format!("id = \"{id}\""))).unwrap_or_else(|| panic!("{id}: {toml}"))
}

#[test]
fn a_proxys_configuration_becomes_one_that_runs() {
    let (code, toml, _) = import(PROXY);
    assert_eq!(code, 0);
    let (is_valid, said) = checked(&toml);
    assert!(is_valid, "{said}\n{toml}");
    for line in ["anthropic    https://api.anthropic.com/ (ready)", "hosted_vllm  http://10.0.0.5:8000/v1 (ready)"] {
        assert!(said.contains(line), "{line} is missing in\n{said}");
    }
    for line in [
        "[providers.groq]\ndialect = \"openai\"\nbase_url = \"https://api.groq.com/openai/v1\"\napi_key_env = \"GROQ_API_KEY\"\n",
        "[providers.anthropic]\napi_key_env = \"TEAM_ANTHROPIC_KEY\"\n",
        "answer_timeout_ms = 120000\nmax_attempts = 3\n",
        "[cache]\nttl_seconds = 0\n",
    ] {
        assert!(toml.contains(line), "{line} is missing in\n{toml}");
    }
    for (id, has) in [
        ("gpt-4o-mini", "\"fast\", \"turbo\"]"),
        ("claude-haiku-4-5", "\"fast\", \"turbo\"]"),
        ("gpt-4o", "input = 2.400000000\noutput = 9.500000000\n"),
        ("meta-llama/Llama-3.3-70B-Instruct", "aliases = [\"llama\"]\ninput = 0"),
        (
            "meta-llama/Llama-3.3-70B-Instruct",
            "context_tokens = 131072\nmax_output_tokens = 8192\ncapabilities = [\"tools\"]\n",
        ),
        ("meta-llama/Llama-3.1-8B-Instruct", "aliases = [\"llama-quick\"]\n"),
    ] {
        assert!(model(&toml, id).contains(has), "{id}: {has} is missing in\n{toml}");
    }
    // The catalogue's own names of a model hold on.
    assert!(model(&toml, "gpt-4o").contains("\"gpt-4\"]") && model(&toml, "gpt-4o").contains("gpt-4o-2024"), "{toml}");
}

#[test]
fn what_has_no_counterpart_is_reported_and_no_secret_is_taken_over() {
    let (_, toml, report) = import(PROXY);
    for (what, why) in [
        ("model_list 1 (fast)", "rpm"),
        ("model_list 3 (gpt-4o)", "OPENAI_API_KEY"),
        ("model_list 6 (deep)", "no price"),
        ("model_list 7 (azure-gpt)", "left out: azure"),
        ("model_list 8 (xai/*)", "wildcard"),
        ("fallbacks", "X-AiPipe-Models"),
        ("litellm_settings.drop_params", "no counterpart"),
        ("litellm_settings.callbacks", "no counterpart"),
        ("router_settings.routing_strategy", "no counterpart"),
        ("general_settings.master_key", "AIPIPE_ADMIN_SECRET"),
        ("general_settings.database_url", "no counterpart"),
    ] {
        assert!(report.lines().any(|line| line.starts_with(what) && line.contains(why)), "{what}: {why}\n{report}");
    }
    assert!(!toml.contains("azure"), "{toml}");
    for text in [&toml, &report] {
        assert!(!text.contains("sk-"), "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_reported() {
    let yaml = r#"
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, input_cost_per_token: 0.000002}
  - model_name: nothing
    litellm_params: {api_key: os.environ/KEY}
  - nonsense
  - model_name: gpt-4o-mini
    litellm_params: {model: openai/gpt-4o-mini}
    model_info: [1]
litellm_settings:
router_settings: {model_group_alias: {"mine": 4, "turbo": "gpt-4o"}}
general_settings: "none"
"#;
    let (code, toml, report) = import(yaml);
    assert_eq!(code, 0, "{report}");
    let lines: Vec<&str> = report.lines().filter(|line| !line.starts_with("[cache]")).collect();
    for (what, why) in [
        ("model_list 1 (gpt-4o)", "one price without the other"),
        ("model_list 2", "names no model"),
        ("model_list 3", "names no model"),
        ("model_list 4", "model_info: left out: it is no mapping"),
        ("model_group_alias mine", "names no group"),
        ("general_settings", "no mapping"),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(what) && line.contains(why)), "{what}: {why}\n{report}");
    }
    assert_eq!(lines.len(), 6, "{report}");
    assert!(toml.contains("turbo") && checked(&toml).0, "{toml}");
}

#[test]
fn the_smallest_proxy_needs_nothing_but_its_catalogue() {
    let yaml = "model_list:\n- model_name: gpt-4o\n  litellm_params: {model: openai/gpt-4o}\nlitellm_settings: {cache: true}\n";
    let (code, toml, report) = import(yaml);
    assert_eq!((code, toml.trim(), report.trim()), (0, "", ""));
    assert!(checked(&toml).0);
}

#[test]
fn servers_are_told_apart_and_addresses_kept() {
    let deployment = |name: &str, model: &str, base: &str| {
        format!("- {{model_name: {name}, litellm_params: {{model: {model}, api_base: \"{base}\"}}}}\n")
    };
    let yaml = "model_list:\n".to_owned()
        + &deployment("a", "openai/one", "http://127.0.0.1:8000/v1")
        + &deployment("b", "openai/two", "http://127.0.0.1:8000/v1")
        + &deployment("c", "openai/three", "http://127.0.0.1:9000/v1")
        + &deployment("d", "openai/four", "https://api.example.com/v1")
        + &deployment("e", "openai/gpt-4o", "https://eu.api.openai.com/v1")
        + &deployment("f", "moonshot/kimi-k2.6", "https://api.moonshot.cn/v1")
        + &deployment("g", "ollama/phi", "http://127.0.0.1:11434");
    let (_, toml, _) = import(&yaml);
    let (is_valid, said) = checked(&toml);
    assert!(is_valid, "{said}\n{toml}");
    for (name, url) in [
        ("local", "http://127.0.0.1:8000/v1"),
        ("local-2", "http://127.0.0.1:9000/v1"),
        ("example", "https://api.example.com/v1"),
        ("openai", "https://eu.api.openai.com/v1"),
        ("moonshot", "https://api.moonshot.cn/v1"),
        ("ollama", "http://127.0.0.1:11434/v1"),
    ] {
        assert!(toml.contains(&format!("[providers.{name}]\n")), "{name}: {toml}");
        assert!(said.contains(url), "{url} is missing in\n{said}");
    }
    assert!(model(&toml, "two").contains("provider = \"local\"\n"), "{toml}");
}

#[test]
fn a_file_that_exists_is_not_overwritten_and_what_is_no_proxy_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (yaml, toml) = (directory.path().join("config.yaml"), directory.path().join("aipipe.toml"));
    std::fs::write(&yaml, PROXY).unwrap();
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
        command.env_clear().args(["import", "litellm"]).arg(&yaml).arg("--output").arg(&toml).output().unwrap()
    };
    assert!(run().status.success());
    let written = std::fs::read_to_string(&toml).unwrap();
    assert!(checked(&written).0);
    assert_eq!(run().status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&toml).unwrap(), written);
    for text in ["just text", "a: [1", "general_settings: {}"] {
        let (code, _, report) = import(text);
        assert_eq!(code, 2, "{report}");
    }
}
