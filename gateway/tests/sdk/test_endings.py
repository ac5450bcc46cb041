"""Callers that leave, callers that wait no longer, callers that ask again."""

import asyncio
import time

import openai
import pytest

from stack import wait_for

HELLO = [{"role": "user", "content": "Hello"}]


def ask(client, model, **more):
    return client.chat.completions.create(model=model, messages=HELLO, **more)


def hung_up(stack, tag):
    """The upstream's record of the one request with `tag`, once its end was noticed."""

    def probe():
        records = stack.mock.requests(tag)
        return records and records[0]["hung_up"] and records[0]

    return wait_for("the upstream to be hung up on", probe)


def test_a_stream_closed_half_way_hangs_up_on_the_upstream(stack, client, tag):
    stream = ask(client, f"script/events=1000,gap_ms=50,{tag}", stream=True)
    for _, chunk in zip(range(3), stream):
        assert chunk.choices[0].delta.content
    stream.close()
    record = hung_up(stack, tag)
    assert not record["completed"]
    assert 3 <= record["events_sent"] < 1000


@pytest.mark.parametrize(
    ("wait", "stream"),
    [("head_ms", False), ("slow_body_ms", False), ("head_ms", True), ("first_ms", True)],
)
def test_a_client_that_times_out_hangs_up_on_the_upstream(stack, tag, wait, stream):
    with stack.client(timeout=0.5) as client, pytest.raises(openai.APITimeoutError):
        ask(client, f"script/{wait}=60000,{tag}", stream=stream)
    record = hung_up(stack, tag)
    assert (record["completed"], record["events_sent"]) == (False, 0)


def test_a_task_that_is_cancelled_hangs_up_on_the_upstream(stack, tag):
    async def leave():
        async with stack.async_client() as client:
            asking = asyncio.create_task(ask(client, f"script/head_ms=60000,{tag}"))
            while not stack.mock.requests(tag):
                await asyncio.sleep(0.01)
            asking.cancel()

    asyncio.run(leave())
    hung_up(stack, tag)


def test_a_gap_longer_than_the_clients_patience_ends_the_stream(stack, tag):
    seen = 0
    with stack.client(timeout=1) as client, pytest.raises(openai.APITimeoutError):
        for _ in ask(client, f"script/events=9,stall_at=2,{tag}", stream=True):
            seen += 1
    assert seen == 2
    hung_up(stack, tag)


def test_the_gateway_serves_on_after_callers_left(client, stack, tag):
    for _ in range(20):
        ask(client, f"script/events=1000,gap_ms=20,{tag}", stream=True).close()

    def all_hung_up():
        records = stack.mock.requests(tag)
        return len(records) == 20 and all(record["hung_up"] for record in records)

    wait_for("every upstream stream to be closed", all_hung_up)
    assert ask(client, "m").choices[0].finish_reason == "stop"


@pytest.mark.parametrize(("status", "seen"), [(429, 429), (503, 502)])
def test_the_package_retries_and_the_second_attempt_succeeds(stack, tag, status, seen):
    model = f"script/status={status},times=1,{tag}"
    with stack.client(max_retries=2) as client:
        raw = client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    assert raw.retries_taken == 1
    assert raw.parse().choices[0].finish_reason == "stop"
    assert len(stack.mock.requests(tag)) == 2, f"a caller's retry after {seen} is one attempt more"


def test_a_stream_is_retried_too(stack, tag):
    with stack.client(max_retries=1) as client:
        chunks = list(ask(client, f"script/status=503,times=1,events=3,{tag}", stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len(stack.mock.requests(tag)) == 2


def test_the_package_waits_for_as_long_as_the_upstream_asks(stack, tag):
    started = time.monotonic()
    with stack.client(max_retries=1) as client:
        ask(client, f"script/status=429,retry_after=1,times=1,{tag}")
    # Without the header it waits for at most half a second.
    assert time.monotonic() - started >= 1


def test_the_last_failure_is_raised_when_retries_are_used_up(stack, tag):
    with stack.client(max_retries=1) as client, pytest.raises(openai.InternalServerError):
        ask(client, f"script/status=503,{tag}")
    assert len(stack.mock.requests(tag)) == 2


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_will_not_get_better_is_not_retried(stack, tag, status):
    with stack.client(max_retries=2) as client, pytest.raises(openai.APIStatusError):
        ask(client, f"script/status={status},{tag}")
    assert len(stack.mock.requests(tag)) == 1
