"""Every package in every protocol, before every kind of upstream: one table of what must hold.

A request reaches the upstream in the upstream's own protocol, nothing lost on the way; its answer reaches the
caller in the caller's. What an upstream heard is read from its record (heard.py).
"""

import base64
import struct
import zlib

import pytest

import heard
from callers import NAMES, Ask, Failed, Node, caller
from stack import UPSTREAM_KEY, wait_for

# Kinds of upstreams: the protocols that they speak, the first one for whatever they do not.
UPSTREAMS = {"plain": ["chat"], "openai": ["chat", "responses"], "claude": ["messages"]}
# Why an answer ended, as each protocol says it: it was complete, it calls tools, it was too long.
FINISH = {
    "chat": ("stop", "tool_calls", "length"),
    "responses": ("completed", "completed", "max_output_tokens"),
    "messages": ("end_turn", "tool_use", "max_tokens"),
}
# What the mock signs with and what it redacts (loadtest/src/mock/plan.rs).
SIGNATURE = 'sig+mock/EqQBCkYIARgCKkA\\u00e9"=='
REDACTED = 'red+mock/EmwKAhgBEgy3va3p\\u00e9"=='

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "é \"quoted\""}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [("get_weather", WEATHER), ("get_time", {"type": "object", "properties": {}})]
ARGUMENTS = {"city": "Zürich \"ZH\"\n"}
CALLS = "tool_name=get_weather,args=" + '{"city":"Zürich \\"ZH\\"\\n"}'.encode().hex()


def png():
    """A picture of one pixel."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    chunks = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")), chunk(b"IEND", b"")]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


class Pair:
    """A caller and the kind of upstream it asks."""

    def __init__(self, stack, name, upstream):
        self.stack, self.name, self.upstream = stack, name, upstream
        self.caller = caller(name, stack.gateway)
        self.protocol = self.caller.protocol
        spoken = UPSTREAMS[upstream]
        self.wire = self.protocol if self.protocol in spoken else spoken[0]
        self.translated = self.wire != self.protocol

    def model(self, script):
        return f"{self.upstream}/{script}"

    def ask(self, script, **more):
        return self.caller.ask(Ask(self.model(script), **more))

    def said(self, script, **more):
        said = self.ask(script, **more)
        assert not isinstance(said, Failed), said
        return said

    def heard(self, tag):
        """What the upstream heard, oldest first; always in its own protocol."""
        found = [heard.of(record) for record in self.stack.mock.requests(tag)]
        assert {one.protocol for one in found} == {self.wire}
        return found

    def finish(self, nth):
        return FINISH[self.protocol][nth]

    def shows_thinking(self):
        """Messages has no place for thinking that nobody signed."""
        return not (self.protocol == "messages" and self.translated)


@pytest.fixture(params=list(UPSTREAMS))
def upstream(request):
    return request.param


@pytest.fixture(params=NAMES)
def pair(request, stack, upstream):
    return Pair(stack, request.param, upstream)


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request):
    return request.param


@pytest.fixture(scope="session", autouse=True)
def node():
    yield
    Node.stop()


def test_a_text_arrives_with_its_usage_under_the_requested_name(pair, stream, tag):
    script = f"{tag},events=4,usage_in=20,usage_cached=8,usage_out=6"
    said = pair.said(script, stream=stream, text="Grüezi \"you\"\n", system="Be brief.")
    assert said.text.startswith("e0 ")
    if stream:
        assert said.text.count("e") == 4
    else:
        assert "Grüezi \"you\"" in said.text.replace('\\"', '"')
    assert (said.calls, said.thinking, said.finish) == ([], "", pair.finish(0))
    # OpenAI counts what came from a cache among the prompt, Anthropic beside it.
    fresh = 12 if pair.protocol == "messages" and pair.translated else 20
    assert (said.fresh, said.cached, said.written) == (fresh, 8, 6)
    assert said.model == pair.model(script)
    assert said.id
    (one,) = pair.heard(tag)
    assert (one.stream, one.system, one.texts) == (stream, "Be brief.", ["Grüezi \"you\"\n"])


def test_the_upstream_gets_its_own_credential_and_only_that(pair, tag):
    pair.said(tag)
    (record,) = pair.stack.mock.requests(tag)
    headers = {name.lower(): value for name, value in record["headers"]}
    if pair.wire == "messages":
        assert headers["x-api-key"] == UPSTREAM_KEY
        assert "authorization" not in headers
        # A caller that speaks the protocol says himself which version.
        assert headers["anthropic-version"] == "2023-06-01" or not pair.translated
    else:
        assert headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
        assert "x-api-key" not in headers


@pytest.mark.parametrize("calls", [1, 3])
def test_tools_are_offered_and_called(pair, stream, tag, calls):
    script = ",".join([tag, "events=3", CALLS, "parts=text" + "+tool" * calls])
    said = pair.said(script, stream=stream, tools=TOOLS, choice="auto")
    assert said.text.startswith("e0 ")
    assert [(call.name, call.arguments) for call in said.calls] == [("get_weather", ARGUMENTS)] * calls
    assert len({call.id for call in said.calls}) == calls
    assert said.finish == pair.finish(1)
    (one,) = pair.heard(tag)
    assert one.tools == dict(TOOLS)


def test_the_choice_of_a_tool_is_kept(pair, tag):
    choices = ["required", "none", "get_time"]
    for choice in choices:
        pair.said(tag, tools=TOOLS, choice=choice)
    assert [one.choice for one in pair.heard(tag)] == choices


def test_parallel_calls_can_be_forbidden(pair, tag):
    pair.said(tag, tools=TOOLS, parallel=False)
    (one,) = pair.heard(tag)
    assert one.parallel is False


def test_calls_and_results_go_round_with_their_ids(pair, stream, tag):
    script = ",".join([tag, CALLS, "parts=text+tool+tool,once=1"])
    first = pair.said(script, stream=stream, tools=TOOLS)
    results = {call.id: f"result of {call.id}" for call in first.calls}
    second = pair.said(script, stream=stream, tools=TOOLS, before=first.turn, results=results)
    assert (second.calls, second.finish) == ([], pair.finish(0))
    _, again = pair.heard(tag)
    prefix = "toolu" if pair.wire == "messages" else "call"
    ids = [f"{prefix}_mock_1", f"{prefix}_mock_2"]
    assert again.calls == [(one, "get_weather", ARGUMENTS) for one in ids]
    assert again.results == {one: f"result of {one}" for one in ids}
    assert first.text in again.texts


def test_an_image_reaches_the_upstream(pair, stream, tag):
    pair.said(tag, stream=stream, image=png())
    (one,) = pair.heard(tag)
    assert (one.images, one.texts) == ([png()], ["Hello"])


def test_structured_output_has_its_schema(pair, stream, tag):
    said = pair.said(f"{tag},json=1,{CALLS}", stream=stream, schema=WEATHER)
    assert heard.json.loads(said.text) == ARGUMENTS
    assert pair.heard(tag)[0].schema == WEATHER


def test_thinking_is_asked_for_and_shown(pair, stream, tag):
    said = pair.said(f"{tag},events=3,parts=thinking+text", stream=stream, think=True)
    assert said.text.startswith("e3 " if stream else "e0 ")
    if pair.shows_thinking():
        assert said.thinking.startswith("e0 ")
    else:
        assert said.thinking == ""
    assert pair.heard(tag)[0].thinks


def test_what_only_the_provider_can_read_goes_round_byte_for_byte(pair, stream, tag):
    if pair.wire == "chat":
        pytest.skip("the upstream has none")
    if (pair.name, stream) == ("node-chat", True):
        pytest.skip("the package keeps the last entry of lists that it does not know")
    script = ",".join([tag, CALLS, "parts=thinking+redacted+text+tool,once=1"])
    first = pair.said(script, stream=stream, think=True, tools=TOOLS)
    results = {call.id: "mild" for call in first.calls}
    pair.said(script, stream=stream, think=True, tools=TOOLS, before=first.turn, results=results)
    _, again = pair.heard(tag)
    want = [SIGNATURE, REDACTED] if pair.wire == "messages" else [REDACTED]
    assert again.opaque == want


def test_an_answer_cut_for_its_length_says_so(pair, stream):
    word = FINISH[pair.wire][2]
    assert pair.said(f"finish={word}", stream=stream).finish == pair.finish(2)


KINDS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
}


# What upstreams answer, and what callers see of it.
STATUSES = {status: status for status in KINDS} | {500: 502, 503: 502, 529: 503}


def test_an_upstreams_failure_is_the_exception_that_callers_catch(pair, stream):
    for status, seen in STATUSES.items():
        failed = pair.ask(f"status={status}", stream=stream)
        assert isinstance(failed, Failed)
        assert failed.status == seen
        if seen in KINDS:
            assert failed.kind == KINDS[seen]
            assert f"mock status {status}" in failed.message
        else:
            assert "mock" not in failed.message
        assert UPSTREAM_KEY not in failed.message


def test_a_model_that_is_not_there_or_not_allowed_is_an_exception(pair, stream):
    for model, kind in [("nowhere", "NotFoundError"), ("forbidden", "PermissionDeniedError")]:
        failed = pair.caller.ask(Ask(model, stream=stream))
        assert isinstance(failed, Failed) and failed.kind == kind


def test_a_stream_that_breaks_off_is_never_a_silent_end(pair):
    cut = ["error_at=2", "cut_at=2", "cut_at=2,cut=fin,te=close", "bad=event_json", "cut_at=head"]
    for script in cut:
        failed = pair.ask(f"events=5,{script}", stream=True)
        assert isinstance(failed, Failed), (script, failed)


def test_events_cut_into_pieces_read_the_same(pair, tag):
    script = f"{tag},events=5,parts=thinking+text+tool,comment=1,split=3,{CALLS}"
    for eol in ["lf", "crlf", "cr"]:
        said = pair.said(f"{script},eol={eol}", stream=True, tools=TOOLS)
        assert said.text.count("e") == 5
        assert [call.arguments for call in said.calls] == [ARGUMENTS]


def test_a_stream_that_is_left_hangs_up_on_the_upstream(pair, tag):
    pair.caller.leave(pair.model(f"{tag},events=1000,gap_ms=20"))

    def hung_up():
        records = pair.stack.mock.requests(tag)
        return records and records[0]["hung_up"] and records[0]

    record = wait_for("the upstream to be hung up on", hung_up)
    assert not record["completed"]
    assert record["events_sent"] < 1000
