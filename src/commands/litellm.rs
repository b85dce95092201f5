//! What LiteLLM's files have in common: its price file and its proxies' configurations describe models with the same words.

/// Its names for what a model can do, with those of the catalogue.
pub(super) const CAPABILITIES: [(&str, &str); 7] = [
    ("supports_function_calling", "tools"),
    ("supports_parallel_function_calling", "parallel_tools"),
    ("supports_vision", "images"),
    ("supports_pdf_input", "documents"),
    ("supports_audio_input", "audio"),
    ("supports_response_schema", "json_schema"),
    ("supports_reasoning", "reasoning"),
];
