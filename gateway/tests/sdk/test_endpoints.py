"""Legacy completions, embeddings, the model list, and headers of answers."""

import struct
import uuid

import openai
import pytest

HELLO = [{"role": "user", "content": "Hello"}]


def test_a_whole_completion(client):
    answer = client.completions.create(model="m", prompt="Once upon a time")
    assert answer.object == "text_completion"
    assert answer.choices[0].text.endswith("Once upon a time")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 15


def test_a_streamed_completion(client):
    stream = client.completions.create(
        model="script/events=6",
        prompt="Once",
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    pieces = [c.choices[0].text.split()[0] for c in chunks if c.choices and c.choices[0].text]
    assert pieces == [f"e{n}" for n in range(6)]
    assert chunks[-1].usage.completion_tokens == 6


def test_embeddings_as_numbers(client):
    answer = client.embeddings.create(
        model="embed", input=["a", "b", "c"], dimensions=6, encoding_format="float"
    )
    assert answer.model == "embed"
    assert [row.index for row in answer.data] == [0, 1, 2]
    assert all(len(row.embedding) == 6 for row in answer.data)
    assert answer.usage.prompt_tokens == 10


def test_embeddings_as_base64_are_relayed_as_such_and_hold_the_same_numbers(client):
    ask = {"model": "embed", "input": "a", "dimensions": 4}
    numbers = client.embeddings.create(**ask, encoding_format="float").data[0].embedding
    raw = client.embeddings.with_raw_response.create(**ask, encoding_format="base64")
    assert isinstance(raw.http_response.json()["data"][0]["embedding"], str)
    # Without a format the package asks for base64 and decodes it.
    decoded = client.embeddings.create(**ask).data[0].embedding
    as_f32 = [struct.unpack("<f", struct.pack("<f", number))[0] for number in numbers]
    assert decoded == pytest.approx(as_f32)


def test_embeddings_of_token_ids(client):
    answer = client.embeddings.create(model="embed", input=[[1, 2, 3], [4]])
    assert len(answer.data) == 2


def test_the_model_list_shows_what_the_key_may_use_and_no_patterns(client):
    assert [model.id for model in client.models.list()] == ["embed", "m", "unreachable"]


def test_a_model_is_retrieved_by_name(client):
    model = client.models.retrieve("m")
    assert (model.id, model.object, model.owned_by) == ("m", "model", "openai")
    assert model.created > 0


@pytest.mark.parametrize("name", ["nowhere", "forbidden"])
def test_a_model_that_the_key_cannot_see_is_not_found(client, name):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(name)
    assert caught.value.code == "model_not_found"


def test_answers_carry_their_request_id(client):
    raw = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
    request_id = raw.headers["x-sluice-request-id"]
    assert str(uuid.UUID(request_id)) == request_id
    assert raw.headers["x-sluice-call-id"] == request_id
    assert raw.headers["server"].startswith("Sluice/")
    assert raw.parse().model == "m"


def test_a_stream_carries_the_callers_request_id(stack, client, tag):
    raw = client.chat.completions.with_raw_response.create(
        model=f"script/{tag}",
        messages=HELLO,
        stream=True,
        extra_headers={"x-sluice-request-id": "caller-id-1"},
    )
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.headers["x-sluice-request-id"] == "caller-id-1"
    assert raw.headers["x-sluice-call-id"] == "caller-id-1"
    assert list(raw.parse())
    (record,) = stack.mock.requests(tag)
    assert ["x-sluice-request-id", "caller-id-1"] in record["headers"]


def test_embeddings_and_models_carry_a_request_id_and_no_call_id(client):
    for raw in (
        client.embeddings.with_raw_response.create(model="embed", input="a"),
        client.models.with_raw_response.list(),
    ):
        assert raw.headers["x-sluice-request-id"]
        assert "x-sluice-call-id" not in raw.headers
