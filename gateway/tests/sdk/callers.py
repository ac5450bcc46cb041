"""Those who ask: each official package in each protocol, behind one way of asking.

A `Caller` takes an `Ask` and gives what its package made of the answer as a `Said`. Node's packages sit in a
process that lives as long as the tests (node/callers.mjs); it takes the same asks as lines of JSON.
"""

import functools
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import anthropic
import openai

from stack import CALLER_KEY, PATIENCE_S

NODE_DIR = Path(__file__).parent / "node"
MAX_TOKENS = 3000
# Events after which a stream is left.
LEFT_AFTER = 8


@dataclass
class Call:
    id: str
    name: str
    arguments: dict


@dataclass
class Ask:
    model: str
    text: str = "Hello"
    system: str | None = None
    stream: bool = False
    # Base64 of a PNG.
    image: str | None = None
    # (name, JSON Schema) of each.
    tools: list = field(default_factory=list)
    # `auto`, `required`, `none`, or the name of a tool.
    choice: str | None = None
    parallel: bool | None = None
    schema: dict | None = None
    think: bool = False
    # An earlier answer as its package gave it, and results by call id.
    before: object = None
    results: dict = field(default_factory=dict)


@dataclass
class Said:
    text: str
    calls: list[Call]
    thinking: str
    finish: str
    # Tokens read beyond the cache, read from it, and written.
    fresh: int
    cached: int
    written: int
    id: str
    model: str
    # The answer's own part of the next request.
    turn: object
    # Signatures and redacted data, in their order.
    opaque: list[str]


@dataclass
class Failed:
    """An exception of a package."""

    kind: str
    status: int | None
    message: str


class Caller:
    """One package in one protocol."""

    def __init__(self, gateway):
        self.gateway = gateway

    def ask(self, ask):
        """The answer, or the failure."""
        try:
            return self.said(ask)
        except (openai.APIError, anthropic.APIError) as error:
            status = getattr(error, "status_code", None)
            return Failed(type(error).__name__, status, str(error))

    def leave(self, model):
        """Opens a stream and leaves after some of its events."""
        with self.open(model) as stream:
            for _ in zip(range(LEFT_AFTER), stream):
                pass


class OpenaiCaller(Caller):
    def __init__(self, gateway):
        super().__init__(gateway)
        self.client = openai.OpenAI(
            base_url=gateway.base_url, api_key=CALLER_KEY, max_retries=0, timeout=PATIENCE_S
        )


class Chat(OpenaiCaller):
    protocol = "chat"

    def request(self, ask):
        content = ask.text
        if ask.image:
            url = f"data:image/png;base64,{ask.image}"
            image = {"type": "image_url", "image_url": {"url": url}}
            content = [{"type": "text", "text": ask.text}, image]
        messages = [{"role": "user", "content": content}]
        if ask.system:
            messages.insert(0, {"role": "system", "content": ask.system})
        if ask.before:
            messages.append(ask.before)
        for call, result in ask.results.items():
            messages.append({"role": "tool", "tool_call_id": call, "content": result})
        body = {"model": ask.model, "messages": messages}
        if ask.tools:
            body["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": schema}}
                for name, schema in ask.tools
            ]
        if ask.choice:
            named = {"type": "function", "function": {"name": ask.choice}}
            known = ask.choice in ("auto", "required", "none")
            body["tool_choice"] = ask.choice if known else named
        if ask.parallel is not None:
            body["parallel_tool_calls"] = ask.parallel
        if ask.schema:
            shape = {"name": "shape", "schema": ask.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        if ask.think:
            body["reasoning_effort"] = "low"
        return body

    def said(self, ask):
        body = self.request(ask)
        if ask.stream:
            answer, thinking = self.streamed(body)
        else:
            answer = self.client.chat.completions.create(**body)
            thinking = getattr(answer.choices[0].message, "reasoning_content", None) or ""
        (choice,) = answer.choices
        message, usage = choice.message, answer.usage
        calls = [
            Call(call.id, call.function.name, json.loads(call.function.arguments))
            for call in message.tool_calls or []
        ]
        details = usage.prompt_tokens_details
        # Thinking that an upstream signed, as other gateways have it too.
        kept = {"role", "content", "tool_calls", "thinking_blocks"}
        turn = message.model_dump(include=kept, exclude_none=True)
        blocks = turn.get("thinking_blocks", [])
        for call in turn.get("tool_calls", []):
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
        return Said(
            text=message.content or "",
            calls=calls,
            thinking=thinking,
            finish=choice.finish_reason,
            fresh=usage.prompt_tokens,
            cached=(details and details.cached_tokens) or 0,
            written=usage.completion_tokens,
            id=answer.id,
            model=answer.model,
            turn=turn,
            opaque=[block.get("signature") or block["data"] for block in blocks],
        )

    def streamed(self, body):
        """The answer, and its thinking, which the package does not put together."""
        body["stream_options"] = {"include_usage": True}
        thinking = ""
        with self.client.chat.completions.stream(**body) as stream:
            for event in stream:
                if event.type == "chunk":
                    for choice in event.chunk.choices:
                        thinking += getattr(choice.delta, "reasoning_content", None) or ""
            try:
                return stream.get_final_completion(), thinking
            except openai.LengthFinishReasonError as cut:
                return cut.completion, thinking

    def open(self, model):
        return self.client.chat.completions.create(**self.request(Ask(model)), stream=True)


class Responses(OpenaiCaller):
    protocol = "responses"

    def request(self, ask):
        content = ask.text
        if ask.image:
            url = f"data:image/png;base64,{ask.image}"
            content = [
                {"type": "input_text", "text": ask.text},
                {"type": "input_image", "image_url": url, "detail": "auto"},
            ]
        items = [{"role": "user", "content": content}]
        items += ask.before or []
        for call, result in ask.results.items():
            items.append({"type": "function_call_output", "call_id": call, "output": result})
        body = {"model": ask.model, "input": items, "store": False}
        if ask.system:
            body["instructions"] = ask.system
        if ask.tools:
            body["tools"] = [
                {"type": "function", "name": name, "parameters": schema, "strict": False}
                for name, schema in ask.tools
            ]
        if ask.choice:
            named = {"type": "function", "name": ask.choice}
            known = ask.choice in ("auto", "required", "none")
            body["tool_choice"] = ask.choice if known else named
        if ask.parallel is not None:
            body["parallel_tool_calls"] = ask.parallel
        if ask.schema:
            shape = {"type": "json_schema", "name": "shape", "schema": ask.schema, "strict": True}
            body["text"] = {"format": shape}
        if ask.think:
            body["reasoning"] = {"effort": "low", "summary": "auto"}
            body["include"] = ["reasoning.encrypted_content"]
        return body

    def said(self, ask):
        body = self.request(ask)
        if ask.stream:
            answer = self.streamed(body)
        else:
            answer = self.client.responses.create(**body)
        calls, thinking, opaque = [], "", []
        for item in answer.output:
            if item.type == "function_call":
                calls.append(Call(item.call_id, item.name, json.loads(item.arguments)))
            if item.type == "reasoning":
                thinking += "".join(part.text for part in item.summary)
                opaque += [item.encrypted_content] if item.encrypted_content else []
        usage, cut = answer.usage, answer.incomplete_details
        turn = [item.model_dump(exclude={"parsed_arguments"}) for item in answer.output]
        for item in turn:
            for part in item.get("content") or []:
                part.pop("parsed", None)
        cached = usage.input_tokens_details.cached_tokens
        return Said(
            text=answer.output_text,
            calls=calls,
            thinking=thinking,
            finish=cut.reason if cut else answer.status,
            fresh=usage.input_tokens,
            cached=cached,
            written=usage.output_tokens,
            id=answer.id,
            model=answer.model,
            turn=turn,
            opaque=opaque,
        )

    def streamed(self, body):
        """The package gives errors inside a stream out as events."""
        with self.client.responses.stream(**body) as stream:
            for event in stream:
                match event.type:
                    case "error":
                        raise openai.APIError(event.message, request=None, body=None)
                    case "response.failed":
                        message = event.response.error.message
                        raise openai.APIError(message, request=None, body=None)
                    case "response.incomplete":
                        return event.response
            return stream.get_final_response()

    def open(self, model):
        return self.client.responses.create(**self.request(Ask(model)), stream=True)


class Messages(Caller):
    protocol = "messages"

    def __init__(self, gateway):
        super().__init__(gateway)
        self.client = anthropic.Anthropic(
            base_url=f"http://{gateway.addr}",
            api_key=CALLER_KEY,
            max_retries=0,
            timeout=PATIENCE_S,
        )

    def request(self, ask):
        content = [{"type": "text", "text": ask.text}]
        if ask.image:
            source = {"type": "base64", "media_type": "image/png", "data": ask.image}
            content.append({"type": "image", "source": source})
        messages = [{"role": "user", "content": content}]
        if ask.before:
            messages.append({"role": "assistant", "content": ask.before})
        if ask.results:
            blocks = [
                {"type": "tool_result", "tool_use_id": call, "content": result}
                for call, result in ask.results.items()
            ]
            messages.append({"role": "user", "content": blocks})
        body = {"model": ask.model, "max_tokens": MAX_TOKENS, "messages": messages}
        if ask.system:
            body["system"] = ask.system
        if ask.tools:
            body["tools"] = [
                {"name": name, "input_schema": schema} for name, schema in ask.tools
            ]
        if ask.choice:
            kind = {"auto": "auto", "required": "any", "none": "none"}.get(ask.choice)
            body["tool_choice"] = {"type": kind} if kind else {"type": "tool", "name": ask.choice}
        if ask.parallel is False:
            choice = body.setdefault("tool_choice", {"type": "auto"})
            choice["disable_parallel_tool_use"] = True
        if ask.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": ask.schema}}
        if ask.think:
            body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return body

    def said(self, ask):
        body = self.request(ask)
        if ask.stream:
            with self.client.messages.stream(**body) as stream:
                answer = stream.get_final_message()
        else:
            answer = self.client.messages.create(**body)
        calls, opaque, thinking, text = [], [], "", ""
        for block in answer.content:
            match block.type:
                case "text":
                    text += block.text
                case "tool_use":
                    calls.append(Call(block.id, block.name, block.input))
                case "thinking":
                    thinking += block.thinking
                    opaque.append(block.signature)
                case "redacted_thinking":
                    opaque.append(block.data)
        usage = answer.usage
        return Said(
            text=text,
            calls=calls,
            thinking=thinking,
            finish=answer.stop_reason,
            fresh=usage.input_tokens,
            cached=usage.cache_read_input_tokens or 0,
            written=usage.output_tokens,
            id=answer.id,
            model=answer.model,
            turn=[
                block.model_dump(exclude_none=True, exclude={"parsed_output"})
                for block in answer.content
            ],
            opaque=opaque,
        )

    def open(self, model):
        return self.client.messages.create(**self.request(Ask(model)), stream=True)


class Node(Caller):
    """One of Node's packages. Requests are made by the Python caller of the same protocol."""

    process = None

    def __init__(self, gateway, twin):
        super().__init__(gateway)
        self.protocol, self.twin = twin.protocol, twin(gateway)

    def request(self, ask):
        return self.twin.request(ask)

    def line(self, ask):
        return {
            "protocol": self.protocol,
            "addr": self.gateway.addr,
            "key": CALLER_KEY,
            "timeout_ms": PATIENCE_S * 1000,
            "stream": ask.stream,
            "body": self.request(ask),
        }

    def leave(self, model):
        self.tell(self.line(Ask(model)) | {"leave_after": LEFT_AFTER})

    def said(self, ask):
        answer = self.tell(self.line(ask))
        if unexpected := answer.get("unexpected"):
            raise AssertionError(unexpected)
        if failed := answer.get("failed"):
            return Failed(**failed)
        calls = [Call(**call) for call in answer.pop("calls")]
        return Said(calls=calls, **answer)

    @classmethod
    def tell(cls, line):
        if Node.process is None:
            assert (NODE_DIR / "node_modules").exists(), f"`npm ci` in {NODE_DIR} is missing: `make sdk`"
            Node.process = subprocess.Popen(
                ["node", "callers.mjs"],
                cwd=NODE_DIR,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        Node.process.stdin.write(json.dumps(line) + "\n")
        Node.process.stdin.flush()
        answer = Node.process.stdout.readline()
        assert answer, "node ended; its complaint is above"
        return json.loads(answer)

    @classmethod
    def stop(cls):
        if cls.process:
            cls.process.stdin.close()
            cls.process.wait()
            Node.process = None


PYTHON = {"chat": Chat, "responses": Responses, "messages": Messages}


@functools.cache
def caller(name, gateway):
    """`python-chat`, `node-messages` …; made once for each gateway, as an application does it."""
    package, protocol = name.split("-")
    twin = PYTHON[protocol]
    return twin(gateway) if package == "python" else Node(gateway, twin)


NAMES = [f"{package}-{protocol}" for package in ("python", "node") for protocol in PYTHON]