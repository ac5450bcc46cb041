"""Chat completions: whole, streamed, with tools, with several choices."""

import asyncio
import json

from stack import UPSTREAM_KEY

HELLO = [{"role": "user", "content": "Hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {"name": "mock_tool", "parameters": {"type": "object", "properties": {}}},
    }
]


def texts(chunks):
    return [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]


def test_a_whole_answer_bears_the_requested_name_and_the_upstreams_usage(client):
    answer = client.chat.completions.create(model="m", messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-mock-")
    assert answer.model == "m"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content.endswith("Hello")
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 5, 15)
    assert answer.system_fingerprint == "fp_mock"


def test_the_upstream_hears_its_own_model_name_and_its_own_key(stack, client, tag):
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": tag}])
    (record,) = stack.mock.requests(tag)
    assert json.loads(record["body"])["model"] == "gpt-up"
    headers = {name.lower(): value for name, value in record["headers"]}
    assert headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


def test_a_field_that_the_gateway_does_not_know_reaches_the_upstream(stack, client, tag):
    extra = {"x_vendor": {"deep": [1, 2.50]}}
    client.chat.completions.create(
        model=f"script/{tag}", messages=HELLO, temperature=0.25, seed=7, extra_body=extra
    )
    (record,) = stack.mock.requests(tag)
    body = json.loads(record["body"])
    assert (body["x_vendor"], body["temperature"], body["seed"]) == (extra["x_vendor"], 0.25, 7)


def test_a_stream_brings_every_event_in_order_and_no_usage_unasked(client):
    with client.chat.completions.create(
        model="script/events=40", messages=HELLO, stream=True
    ) as stream:
        chunks = list(stream)
    assert [text.split()[0] for text in texts(chunks)] == [f"e{n}" for n in range(40)]
    assert {chunk.model for chunk in chunks} == {"script/events=40"}
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_brings_usage_last_where_it_was_asked_for(client):
    chunks = list(
        client.chat.completions.create(
            model="script/events=3,usage_in=21,usage_cached=4",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *before, last = chunks
    assert all(chunk.usage is None for chunk in before)
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (21, 3)
    assert last.usage.prompt_tokens_details.cached_tokens == 4


def test_events_cut_into_single_bytes_and_crlf_read_the_same(client):
    model = "script/events=5,split=1,eol=crlf,comment=1"
    stream = client.chat.completions.create(model=model, messages=HELLO, stream=True)
    assert [text.split()[0] for text in texts(stream)] == ["e0", "e1", "e2", "e3", "e4"]


def test_the_stream_helper_of_the_package_puts_the_answer_together(client):
    with client.chat.completions.stream(model="script/events=3", messages=HELLO) as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content.count("e") == 3


def test_many_streams_at_once_keep_their_events_apart(stack):
    async def one(client, number):
        model = f"script/events=20,gap_ms=5,model_echo=echo{number}"
        stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
        assert {chunk.model for chunk in chunks} == {model}
        return [text.split()[0] for text in texts(chunks)]

    async def all_of_them():
        async with stack.async_client() as client:
            return await asyncio.gather(*(one(client, number) for number in range(64)))

    want = [f"e{n}" for n in range(20)]
    assert all(got == want for got in asyncio.run(all_of_them()))


def test_tool_calls_of_a_whole_answer_are_kept(client):
    answer = client.chat.completions.create(
        model="script/tools=1", messages=HELLO, tools=TOOLS, tool_choice="auto"
    )
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert (call.id, call.type, call.function.name) == ("call_mock_1", "function", "mock_tool")
    assert json.loads(call.function.arguments) == {"s": 1}


def test_tool_calls_of_a_stream_are_kept(client):
    stream = client.chat.completions.create(
        model="script/tools=1,events=4", messages=HELLO, tools=TOOLS, stream=True
    )
    chunks = list(stream)
    calls = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
    assert (calls[0].id, calls[0].function.name) == ("call_mock_1", "mock_tool")
    assert list(json.loads("".join(call.function.arguments for call in calls))) == ["s"]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_tool_result_reaches_the_upstream_as_it_was_sent(stack, client, tag):
    call = {"id": "c1", "type": "function", "function": {"name": "mock_tool", "arguments": "{}"}}
    messages = HELLO + [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    client.chat.completions.create(model=f"script/{tag}", messages=messages, tools=TOOLS)
    (record,) = stack.mock.requests(tag)
    body = json.loads(record["body"])
    assert (body["messages"], body["tools"]) == (messages, TOOLS)


def test_every_choice_of_a_whole_answer_is_kept(client):
    answer = client.chat.completions.create(model="m", messages=HELLO, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


def test_every_choice_of_a_stream_is_kept(client):
    stream = client.chat.completions.create(
        model="script/events=2", messages=HELLO, n=2, stream=True
    )
    finished, seen = set(), {0: [], 1: []}
    for chunk in stream:
        for choice in chunk.choices:
            if choice.delta.content:
                seen[choice.index].append(choice.delta.content.split()[0])
            if choice.finish_reason:
                finished.add(choice.index)
    assert seen == {0: ["e0", "e1"], 1: ["e0", "e1"]}
    assert finished == {0, 1}
