"""The official OpenAI SDK's Responses against a gateway whose providers are simulated: AIPIPE_URL names the gateway."""

import json
import os

import openai
from openai import OpenAI
from pydantic import BaseModel

from checks import PIXEL, check, fail, report

URL = os.environ["AIPIPE_URL"]
client = OpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0)
other = client.with_options(default_headers={"X-Tenant-ID": "other"})

# One model of each provider.
MODELS = os.environ["AIPIPE_MODELS"].split(",")
# Those whose provider keeps answers.
KEEPING = [name for name in MODELS if name.split("/")[0] in ("openai", "xai")]
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": None,
}


class Seen(BaseModel):
    colour: str


def create_and_stream(model):
    answer = client.responses.create(model=model, input=f"Say hello, {model}.", instructions="Be brief.")
    check(answer.output_text and answer.status == "completed", f"{model}: an answer")
    check(answer.usage.input_tokens > 0 and answer.usage.model_extra["cost"] > 0, f"{model}: usage and cost")
    check(answer.instructions == "Be brief." and answer.temperature is not None, f"{model}: what was set is told back")

    raw = client.responses.with_raw_response.create(model=model, input="Say hello again.")
    check(f"{raw.headers['x-aipipe-provider']}/{raw.headers['x-aipipe-model']}" == model, f"{model}: who answered")

    events = list(client.responses.create(model=model, input="Tell me a story.", stream=True))
    check([event.sequence_number for event in events] == list(range(len(events))), f"{model}: events are numbered")
    check(events[0].type == "response.created" and events[-1].type == "response.completed", f"{model}: a stream")
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    check(len(deltas) > 10 and deltas == events[-1].response.output_text, f"{model}: with the whole text")
    check(events[-1].response.usage.model_extra["cost"] > 0, f"{model}: and its cost")

    short = client.responses.create(model=model, input="Tell me a very long story.", max_output_tokens=16)
    check(short.status == "incomplete", f"{model}: a limit")
    check(short.incomplete_details.reason == "max_output_tokens", f"{model}: and that it was reached")


def tools(model):
    messages = [{"role": "user", "content": "What is the weather in Bergen and in Oslo? Use the tool for each."}]
    with client.responses.stream(model=model, input=messages, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        answer = stream.get_final_response()
    calls = [item for item in answer.output if item.type == "function_call"]
    check(calls and calls[0].name == "get_weather", f"{model}: a tool is called")
    messages += answer.output
    for call in calls:
        check("city" in json.loads(call.arguments), f"{model}: with arguments")
        messages.append({"type": "function_call_output", "call_id": call.call_id, "output": "rain, 9 degrees"})
    answer = client.responses.create(model=model, input=messages, tools=[WEATHER])
    check(answer.output_text, f"{model}: an answer after the tools")


def reasoning(model):
    messages = [{"role": "user", "content": "Think it over: is 97 a prime?"}]
    answer = client.responses.create(
        model=model,
        input=messages,
        reasoning={"effort": "high", "summary": "auto"},
        include=["reasoning.encrypted_content"],
        store=False,
        extra_body={"aipipe": {"cache": "off"}},
    )
    check(answer.output_text, f"{model}: a thoughtful answer")
    thoughts = [item for item in answer.output if item.type == "reasoning"]
    check(all(item.encrypted_content for item in thoughts), f"{model}: thoughts that can be sent back")
    messages += answer.output + [{"role": "user", "content": "And 91?"}]
    again = client.responses.create(model=model, input=messages, store=False)
    check(again.output_text, f"{model}: an answer after them")
    return len(thoughts)


def structured_output_and_images(model):
    content = [
        {"type": "input_text", "text": "What colour is it?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
    ]
    answer = client.responses.parse(model=model, input=[{"role": "user", "content": content}], text_format=Seen)
    check(isinstance(answer.output_parsed, Seen), f"{model}: an image, and an answer after a schema")


def raises(kind, by=client, **arguments):
    try:
        by.responses.create(**{"model": "auto", "input": "Hello", **arguments})
    except kind as error:
        check(error.request_id, f"{kind.__name__} names the request")
        return error
    fail(f"{arguments} raised nothing")


def kept(model):
    first = client.responses.create(model=model, input="My name is Ada.")
    second = client.responses.create(model=model, input="What is it?", previous_response_id=first.id)
    check(second.output_text and second.previous_response_id == first.id, f"{model}: a conversation goes on")
    check(client.responses.retrieve(first.id).id == first.id, f"{model}: what is kept can be seen")
    check(client.responses.input_items.list(first.id).data, f"{model}: and what it answered")
    error = raises(openai.BadRequestError, by=other, model=model, previous_response_id=first.id)
    check(error.code == "previous_response_not_found", f"{model}: another tenant has no such answer")
    check(error.param == "previous_response_id", f"{model}: and is told which field names it")
    try:
        other.responses.retrieve(first.id)
        fail(f"{model}: another tenant sees it")
    except openai.NotFoundError:
        pass
    client.responses.delete(first.id)
    try:
        client.responses.retrieve(first.id)
        fail(f"{model}: it is still there")
    except openai.NotFoundError:
        pass


def not_kept(model):
    answer = client.responses.create(model=model, input="My name is Ada.")
    check(answer.store is False or answer.model_extra.get("store") is False, f"{model}: it says that nothing is kept")
    error = raises(openai.BadRequestError, model=model, previous_response_id=answer.id)
    check(error.param == "previous_response_id", f"{model}: nothing to go on from")


def errors():
    check(raises(openai.NotFoundError, model="gpt-99").code == "model_not_found", "an unknown model")
    check(raises(openai.BadRequestError, input=[]).param == "input", "no item")
    check(raises(openai.BadRequestError, background=True).param == "background", "an answer in the background")
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


thoughts = 0
for name in MODELS:
    create_and_stream(name)
    tools(name)
    # A model that is named gets its parameters as they came, and this one refuses to be asked for thoughts.
    thoughts += reasoning("openai/gpt-5.1" if name == "openai/gpt-4o-mini" else name)
    kept(name) if name in KEEPING else not_kept(name)
check(thoughts > 0, "some models think")
for name in os.environ["AIPIPE_SEEING_MODELS"].split(","):
    structured_output_and_images(name)
errors()
auto = client.responses.create(
    model="auto", input="What is the capital of France?", extra_body={"aipipe": {"explain": True}}
)
check(auto.model_extra["aipipe"]["decision"]["chosen"], "the decision joins the answer")
report("openai responses", openai.__version__)
