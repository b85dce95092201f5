"""The official Anthropic SDK against a gateway whose providers are simulated: AIPIPE_URL names the gateway."""

import os

import anthropic
from anthropic import Anthropic

from checks import PIXEL, check, fail, report

client = Anthropic(base_url=os.environ["AIPIPE_URL"], api_key="any", max_retries=0)
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def user(text):
    return [{"role": "user", "content": text}]


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


def chat_and_stream(model):
    message = client.messages.create(model=model, max_tokens=4096, messages=user(f"Say hello, {model}."))
    check(text(message), f"{model}: an answer")
    check(message.stop_reason == "end_turn", f"{model}: it ends: {message.stop_reason}")
    check(message.usage.input_tokens > 0 and message.usage.output_tokens > 0, f"{model}: usage")
    with client.messages.stream(model=model, max_tokens=4096, messages=user("Tell me a story.")) as stream:
        streamed = "".join(stream.text_stream)
        final = stream.get_final_message()
    check(len(streamed) > 10 and streamed == text(final), f"{model}: a stream")
    check(final.stop_reason == "end_turn" and final.usage.output_tokens > 0, f"{model}: usage at its end")


def tools(model):
    messages = user("What is the weather in Bergen? Use the tool.")
    with client.messages.stream(model=model, max_tokens=4096, messages=messages, tools=[WEATHER]) as stream:
        called = stream.get_final_message()
    check(called.stop_reason == "tool_use", f"{model}: a tool is called: {called.stop_reason}")
    call = next(block for block in called.content if block.type == "tool_use")
    check(call.name == "get_weather" and "city" in call.input, f"{model}: with arguments")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain, 9 degrees"}
    messages += [{"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(model=model, max_tokens=4096, messages=messages, tools=[WEATHER])
    check(text(answer), f"{model}: an answer after the tool")


def thinking(model):
    message = client.messages.create(
        model=model,
        max_tokens=8000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=user("How many primes are below 100?"),
    )
    thoughts = [block for block in message.content if block.type == "thinking"]
    check(thoughts and text(message), f"{model}: it thinks")
    again = client.messages.create(
        model=model,
        max_tokens=8000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=user("How many primes are below 100?")
        + [{"role": "assistant", "content": message.content}]
        + user("And below 10?"),
    )
    check(text(again), f"{model}: its thoughts come back")


def images(model):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What colour is it?"}]
    message = client.messages.create(
        model=model, max_tokens=4096, messages=[{"role": "user", "content": content}]
    )
    check(text(message), f"{model}: an image")


def errors():
    def raises(kind, **arguments):
        try:
            client.messages.create(**{"model": "auto", "max_tokens": 100, "messages": user("Hello"), **arguments})
        except kind as error:
            return error
        fail(f"{arguments} raised nothing")

    error = raises(anthropic.NotFoundError, model="claude-99")
    check(error.body["error"]["type"] == "not_found_error", "an unknown model: the type")
    check(error.body["error"]["code"] == "model_not_found", "an unknown model: the code")
    check(raises(anthropic.BadRequestError, messages=[]).body["error"]["type"] == "invalid_request_error", "no message")
    check(
        raises(anthropic.RateLimitError, extra_headers={"X-Tenant-ID": "slow"}).body["error"]["code"] == "rate_limited",
        "a tenant's limit",
    )


for name in os.environ["AIPIPE_MODELS"].split(","):
    chat_and_stream(name)
    tools(name)
for name in os.environ["AIPIPE_SEEING_MODELS"].split(","):
    images(name)
thinking("anthropic/claude-haiku-4-5")
thinking("gemini/gemini-3.5-flash")
errors()
counted = client.messages.count_tokens(model="anthropic/claude-haiku-4-5", messages=user("Hello, how are you?"))
check(5 < counted.input_tokens < 50, f"tokens are counted: {counted.input_tokens}")
check(next(iter(client.models.list())).id == "auto", "models are listed, auto first")
report("anthropic", anthropic.__version__)
