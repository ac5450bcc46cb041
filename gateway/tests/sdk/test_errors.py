"""Each error of the gateway as the class of the package that callers catch."""

import openai
import pytest

from stack import CALLER_KEY, HASTY_MS, UPSTREAM_KEY

HELLO = [{"role": "user", "content": "Hello"}]


def ask(client, model, **more):
    return client.chat.completions.create(**{"model": model, "messages": HELLO} | more)


def test_a_wrong_key_is_an_authentication_error_that_does_not_repeat_it(stack):
    wrong = "sk-wrong-canary-55aa"
    with stack.client(api_key=wrong) as client, pytest.raises(openai.AuthenticationError) as caught:
        ask(client, "m")
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_api_key")
    assert wrong not in caught.value.response.text
    with stack.client(api_key=wrong) as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "nowhere")
    error = caught.value
    assert (error.code, error.param) == ("model_not_found", "model")
    assert 'model "nowhere" not found' in error.message


def test_a_model_that_the_key_may_not_use_is_denied(client):
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client, "forbidden")
    assert (caught.value.code, caught.value.param) == ("permission_denied", "model")


def test_an_unknown_url_is_not_found_with_an_envelope(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.moderations.create(input="a")
    assert caught.value.code == "unknown_url"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messages", "Hello"),
        ("messages", []),
        ("stream", "yes"),
        ("max_tokens", -1),
        ("stream_options", []),
    ],
)
def test_a_field_at_fault_is_named(client, field, value):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "m", extra_body={field: value})
    error = caught.value
    assert (error.param, error.type) == (field, "invalid_request_error")
    assert field in error.message


def test_an_upstreams_bad_request_is_passed_on(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "script/status=400,error_code=context_length_exceeded")
    assert caught.value.code == "context_length_exceeded"
    assert "mock status 400" in caught.value.message


def test_an_upstreams_rate_limit_comes_with_its_retry_after(client):
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, "script/status=429,retry_after=17")
    assert caught.value.response.headers["retry-after"] == "17"
    assert "mock status 429" in caught.value.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
    ],
)
def test_an_upstreams_client_error_keeps_its_status(client, status, kind):
    with pytest.raises(kind) as caught:
        ask(client, f"script/status={status}")
    assert caught.value.type == "upstream_error"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_upstreams_own_failure_is_a_502_without_its_words(client, status):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, f"script/status={status},error_body=raw")
    assert caught.value.status_code == 502
    assert caught.value.body["message"] == f"upstream returned {status}"
    assert "mock" not in caught.value.response.text


def test_an_overloaded_upstream_is_a_503(client):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "script/status=529,retry_after=3")
    assert (caught.value.status_code, caught.value.code) == (503, "overloaded")
    assert caught.value.response.headers["retry-after"] == "3"


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_is_not_there_is_a_502(client, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "unreachable", stream=stream)
    error = caught.value
    assert (error.status_code, error.type) == (502, "transport_error")
    assert error.body["request_id"] == error.response.headers["x-sluice-request-id"]
    assert "127.0.0.1" not in error.response.text


@pytest.mark.parametrize("script", ["bad=json", "bad=html", "bad=short", "cut_at=head", "bad=te_cl"])
def test_an_answer_that_is_none_is_a_502(client, script):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, f"script/{script}")
    assert caught.value.status_code == 502


@pytest.mark.parametrize("stream", [False, True])
def test_a_silent_upstream_is_a_504(client, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, "hasty/stall_at=head", stream=stream)
    error = caught.value
    assert (error.status_code, error.type) == (504, "timeout")
    assert f"{HASTY_MS}ms" in error.message


def test_an_error_inside_a_stream_is_raised_after_the_events_before_it(client):
    seen = []
    with pytest.raises(openai.APIError) as caught:
        for chunk in ask(client, "script/events=9,error_at=3", stream=True):
            seen.append(chunk.choices[0].delta.content.split()[0])
    assert seen == ["e0", "e1", "e2"]
    assert not isinstance(caught.value, openai.APIStatusError)
    assert caught.value.type == "upstream_in_band_error"
    assert caught.value.body["request_id"]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("script/events=9,cut_at=3", "transport_error"),
        ("script/events=9,cut_at=3,cut=fin,te=close", "stream_aborted"),
        ("hasty/events=9,stall_at=3", "timeout"),
        ("script/events=9,bad=event_json", "upstream_decode_error"),
    ],
)
def test_a_stream_that_breaks_off_is_never_a_silent_end(client, script, kind):
    with pytest.raises(openai.APIError) as caught:
        for _ in ask(client, script, stream=True):
            pass
    assert caught.value.type == kind


def test_no_error_shows_the_upstreams_credential(client):
    for status in (400, 401, 500):
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, f"script/status={status},error_code={UPSTREAM_KEY}")
        assert UPSTREAM_KEY not in caught.value.response.text
        assert CALLER_KEY not in caught.value.response.text
