"""The official OpenAI SDK against a gateway whose providers are simulated: AIPIPE_URL names the gateway."""

import json
import os

import openai
from openai import OpenAI
from pydantic import BaseModel

from checks import PIXEL, check, fail, report

URL = os.environ["AIPIPE_URL"]
client = OpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0)

# One model of each provider.
MODELS = os.environ["AIPIPE_MODELS"].split(",")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def user(text):
    return [{"role": "user", "content": text}]


def chat_and_stream(model):
    answer = client.chat.completions.create(model=model, messages=user(f"Say hello, {model}."))
    check(answer.choices[0].message.content, f"{model}: an answer")
    check(answer.choices[0].finish_reason == "stop", f"{model}: it ends")
    check(answer.usage.prompt_tokens > 0 and answer.usage.model_extra["cost"] > 0, f"{model}: usage and cost")

    raw = client.chat.completions.with_raw_response.create(model=model, messages=user("Say hello again."))
    check(f"{raw.headers['x-aipipe-provider']}/{raw.headers['x-aipipe-model']}" == model, f"{model}: who answered")

    stream = client.chat.completions.create(
        model=model, messages=user("Tell me a story."), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    check(len(text) > 10, f"{model}: a stream")
    check(chunks[-1].usage.completion_tokens > 0, f"{model}: usage at its end")
    check(any(chunk.choices and chunk.choices[0].finish_reason == "stop" for chunk in chunks), f"{model}: it ends")


def tools(model):
    messages = user("What is the weather in Bergen? Use the tool.")
    with client.chat.completions.stream(model=model, messages=messages, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    # OpenRouter names the role in every chunk, which this SDK strings together, with AiPipe in between or without.
    message.role = "assistant"
    call = message.tool_calls[0]
    check(call.function.name == "get_weather", f"{model}: a tool is called")
    check("city" in json.loads(call.function.arguments), f"{model}: with arguments")
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "rain, 9 degrees"}]
    answer = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    check(answer.choices[0].message.content, f"{model}: an answer after the tool")


class Seen(BaseModel):
    colour: str


def structured_output_and_images(model):
    content = [
        {"type": "text", "text": "What colour is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = client.chat.completions.parse(
        model=model, messages=[{"role": "user", "content": content}], response_format=Seen
    )
    check(isinstance(answer.choices[0].message.parsed, Seen), f"{model}: an image, and an answer after a schema")


def embeddings():
    words = ["the first text", "the second"]
    # Where no format is named the SDK asks for base64 and decodes it itself.
    decoded = client.embeddings.create(model="text-embedding-3-small", input=words)
    plain = client.embeddings.create(model="text-embedding-3-small", input=words, encoding_format="float")
    check(len(decoded.data) == 2 and len(decoded.data[0].embedding) > 10, "embeddings")
    for one, two in zip(decoded.data, plain.data):
        near = all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, two.embedding))
        check(len(one.embedding) == len(two.embedding) and near, "the same in base64 and as numbers")
    check(plain.usage.model_extra["cost"] > 0, "embeddings have a cost")
    try:
        client.embeddings.create(model="auto", input=words)
        fail("auto chose an embedding model")
    except openai.BadRequestError as error:
        check(error.param == "model", "an embedding model must be named")


def errors():
    def raises(kind, **arguments):
        try:
            client.chat.completions.create(**{"model": "auto", "messages": user("Hello"), **arguments})
        except kind as error:
            check(error.request_id, f"{kind.__name__} names the request")
            return error
        fail(f"{arguments} raised nothing")

    check(raises(openai.NotFoundError, model="gpt-99").code == "model_not_found", "an unknown model")
    check(raises(openai.BadRequestError, messages=[]).param == "messages", "no message")
    check(
        raises(openai.UnprocessableEntityError, extra_body={"aipipe": {"max_cost_usd": 0}}).code == "no_candidate",
        "no candidate",
    )
    check(
        raises(openai.PermissionDeniedError, extra_headers={"X-Tenant-ID": "nobody"}).code == "unknown_tenant",
        "an unknown tenant",
    )
    check(
        raises(openai.RateLimitError, extra_headers={"X-Tenant-ID": "slow"}).code == "rate_limited",
        "a tenant's limit",
    )


for name in MODELS:
    chat_and_stream(name)
    tools(name)
for name in os.environ["AIPIPE_SEEING_MODELS"].split(","):
    structured_output_and_images(name)
embeddings()
errors()
names = [model.id for model in client.models.list()]
check(names[0] == "auto", "models are listed, auto first")
check(client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini", "one model")
auto = client.chat.completions.create(
    model="auto", messages=user("What is the capital of France?"), extra_body={"aipipe": {"explain": True}}
)
check(auto.model_extra["aipipe"]["decision"]["chosen"], "the decision joins the answer")
report("openai", openai.__version__)
