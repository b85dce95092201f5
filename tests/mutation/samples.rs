//! Good requests of every client dialect, each with much of what the dialect knows.

use serde_json::{Value, json};

/// The addresses that requests are sent to, with a body for each.
pub(crate) fn requests() -> Vec<(&'static str, Value)> {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let png = "data:image/png;base64,iVBORw0KGgo=";
    let chat = json!({
        "model": "auto", "temperature": 0.5, "max_tokens": 20, "stop": ["x"], "n": 1, "stream": false, "seed": 7,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": png}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}], "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": false}},
        "aipipe": {"models": ["openai/gpt-4o-mini"], "max_cost_usd": 1, "tags": ["t"], "timeout_ms": 20000},
    });
    let messages = json!({
        "model": "anthropic/claude-haiku-4-5", "max_tokens": 30, "temperature": 0.2, "stop_sequences": ["x"], "top_k": 5,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "b"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "done"}]}],
        "tools": [{"name": "f", "input_schema": schema}], "tool_choice": {"type": "auto"}, "metadata": {"user_id": "u"},
    });
    let contents = json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": "b"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": 1}}}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
        "generationConfig": {"temperature": 0.3, "maxOutputTokens": 40, "stopSequences": ["x"], "candidateCount": 1},
    });
    let responses = json!({
        "model": "openai/gpt-4o-mini", "instructions": "Be brief.", "max_output_tokens": 40, "temperature": 0.4, "store": false,
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hello"}, {"type": "input_image", "image_url": png}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "e"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":\"b\"}"},
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "p", "input": "*** Begin"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
        "tools": [{"type": "function", "name": "f", "parameters": schema, "strict": true}, {"type": "custom", "name": "p"},
            {"type": "namespace", "name": "g", "tools": [{"type": "function", "name": "h", "parameters": schema}]}],
        "tool_choice": "auto", "text": {"format": {"type": "json_schema", "name": "s", "schema": schema}}, "include": ["reasoning.encrypted_content"],
    });
    let elsewhere = |body: &Value, model: &str| {
        let mut body = body.clone();
        body["model"] = json!(model);
        body
    };
    vec![
        ("/v1/chat/completions", elsewhere(&chat, "gemini/gemini-3.5-flash")),
        ("/v1/chat/completions", elsewhere(&chat, "anthropic/claude-haiku-4-5")),
        ("/v1/chat/completions", chat),
        ("/v1/messages", elsewhere(&messages, "openai/gpt-4o-mini")),
        ("/v1/messages", elsewhere(&messages, "gemini/gemini-3.5-flash")),
        ("/v1/messages", messages.clone()),
        ("/v1/messages/count_tokens", elsewhere(&messages, "moonshot/kimi-k2.6")),
        ("/v1/messages/count_tokens", messages),
        ("/v1beta/models/gemini%2Fgemini-3.5-flash:generateContent", contents.clone()),
        ("/v1beta/models/openai%2Fgpt-4o-mini:generateContent", contents.clone()),
        ("/v1beta/models/gemini%2Fgemini-3.5-flash:countTokens", json!({"generateContentRequest": contents})),
        ("/v1beta/models/gemini%2Fgemini-3.5-flash:countTokens", contents),
        ("/v1/responses", elsewhere(&responses, "anthropic/claude-haiku-4-5")),
        ("/v1/responses", elsewhere(&responses, "minimax/MiniMax-M2.7")),
        ("/v1/responses/input_tokens", elsewhere(&responses, "xai/grok-4.3")),
        ("/v1/responses/input_tokens", responses.clone()),
        ("/v1/responses", responses),
        ("/v1/embeddings", json!({"model": "openai/text-embedding-3-small", "input": ["a", "b"], "dimensions": 8})),
        ("/v1/route", json!({"model": "auto", "messages": [{"role": "user", "content": "Hello"}]})),
        ("/v1/feedback", json!({"request_id": "01a2189e-f0d3-765a-b883-812120e526d4", "score": 0.5, "comment": "c"})),
    ]
}
