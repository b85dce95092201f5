"""The official google-genai SDK against a gateway whose providers are simulated: AIPIPE_URL names the gateway."""

import base64
import os

from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from checks import PIXEL, check, fail, report

client = genai.Client(
    api_key="any",
    http_options=types.HttpOptions(base_url=os.environ["AIPIPE_URL"], retry_options=types.HttpRetryOptions(attempts=1)),
)
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="The weather of a city",
            parameters=types.Schema(
                type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"]
            ),
        )
    ]
)


def chat_and_stream(model):
    answer = client.models.generate_content(model=model, contents=f"Say hello, {model}.")
    check(answer.text, f"{model}: an answer")
    check(answer.candidates[0].finish_reason == types.FinishReason.STOP, f"{model}: it ends")
    check(answer.usage_metadata.prompt_token_count > 0, f"{model}: usage")
    chunks = list(client.models.generate_content_stream(model=model, contents="Tell me a story."))
    check(len("".join(chunk.text or "" for chunk in chunks)) > 10, f"{model}: a stream")
    check(chunks[-1].usage_metadata.candidates_token_count > 0, f"{model}: usage at its end")
    chat = client.chats.create(model=model)
    chat.send_message("Remember the number 7.")
    check(chat.send_message("Which number was it?").text, f"{model}: a conversation")


def tools(model):
    config = types.GenerateContentConfig(
        tools=[WEATHER], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    question = types.Content(
        role="user", parts=[types.Part(text="What is the weather in Bergen? Use the tool.")]
    )
    answer = client.models.generate_content(model=model, contents=[question], config=config)
    call = answer.function_calls[0]
    check(call.name == "get_weather" and "city" in call.args, f"{model}: a tool is called")
    result = types.Part.from_function_response(name=call.name, response={"result": "rain, 9 degrees"})
    result.function_response.id = call.id
    contents = [question, answer.candidates[0].content, types.Content(role="user", parts=[result])]
    check(client.models.generate_content(model=model, contents=contents, config=config).text, f"{model}: and answers")


class Seen(BaseModel):
    colour: str


def structured_output_and_images(model):
    contents = [types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png"), "What colour is it?"]
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Seen)
    answer = client.models.generate_content(model=model, contents=contents, config=config)
    check(isinstance(answer.parsed, Seen), f"{model}: an image, and an answer after a schema")


def refusals():
    try:
        client.models.generate_content(model="gemini-99", contents="Hello")
        fail("an unknown model is answered")
    except errors.ClientError as error:
        check(error.code == 404 and error.status == "NOT_FOUND", "an unknown model")


for name in os.environ["AIPIPE_MODELS"].split(","):
    chat_and_stream(name)
    tools(name)
for name in os.environ["AIPIPE_SEEING_MODELS"].split(","):
    structured_output_and_images(name)
refusals()
counted = client.models.count_tokens(model="gemini/gemini-3.5-flash", contents="Hello, how are you?")
check(5 < counted.total_tokens < 50, f"tokens are counted: {counted.total_tokens}")
check(next(iter(client.models.list())).name == "models/auto", "models are listed, auto first")
report("google-genai", genai.__version__)
