"""What an upstream heard, read from the mock's record in the upstream's own protocol."""

import json
from dataclasses import dataclass, field


@dataclass
class Heard:
    protocol: str
    body: dict
    model: str = ""
    stream: bool = False
    system: str = ""
    texts: list[str] = field(default_factory=list)
    # Base64 data.
    images: list[str] = field(default_factory=list)
    # Name to JSON Schema.
    tools: dict = field(default_factory=dict)
    choice: object = None
    parallel: bool | None = None
    schema: dict | None = None
    thinks: bool = False
    # (id, name, arguments) of calls in the history.
    calls: list = field(default_factory=list)
    # Call id to text.
    results: dict = field(default_factory=dict)
    # Signatures and redacted data in the history.
    opaque: list[str] = field(default_factory=list)


def of(record):
    """Reads one record; the path says which protocol it is in."""
    body = json.loads(record["body"])
    readers = {
        "/v1/chat/completions": _chat,
        "/v1/responses": _responses,
        "/v1/messages": _messages,
    }
    heard = readers[record["path"]](body)
    heard.model, heard.stream = body["model"], bool(body.get("stream"))
    return heard


def _data(url):
    prefix = "data:image/png;base64,"
    assert url.startswith(prefix), url
    return url.removeprefix(prefix)


def _text(content):
    """The text of a string or of its parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text", "") for part in content)


def _parts(content):
    return [] if isinstance(content, (str, type(None))) else content


def _chat(body):
    heard = Heard("chat", body)
    for message in body["messages"]:
        text = _text(message.get("content"))
        if message["role"] in ("system", "developer"):
            heard.system += text
        elif message["role"] == "tool":
            heard.results[message["tool_call_id"]] = text
        elif text:
            heard.texts.append(text)
        for part in _parts(message.get("content")):
            if part["type"] == "image_url":
                heard.images.append(_data(part["image_url"]["url"]))
        for call in message.get("tool_calls") or []:
            arguments = json.loads(call["function"]["arguments"])
            heard.calls.append((call["id"], call["function"]["name"], arguments))
    for tool in body.get("tools", []):
        heard.tools[tool["function"]["name"]] = tool["function"]["parameters"]
    choice = body.get("tool_choice")
    heard.choice = choice["function"]["name"] if isinstance(choice, dict) else choice
    heard.parallel = body.get("parallel_tool_calls")
    shape = body.get("response_format") or {}
    heard.schema = shape.get("json_schema", {}).get("schema")
    heard.thinks = body.get("reasoning_effort") not in (None, "none")
    return heard


def _responses(body):
    heard = Heard("responses", body, system=body.get("instructions") or "")
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "message":
            heard.texts.append(_text(item["content"]))
            for part in _parts(item["content"]):
                if part["type"] == "input_image":
                    heard.images.append(_data(part["image_url"]))
        elif kind == "function_call":
            heard.calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
        elif kind == "function_call_output":
            heard.results[item["call_id"]] = _text(item["output"])
        elif kind == "reasoning" and item.get("encrypted_content"):
            heard.opaque.append(item["encrypted_content"])
    for tool in body.get("tools", []):
        heard.tools[tool["name"]] = tool["parameters"]
    choice = body.get("tool_choice")
    heard.choice = choice["name"] if isinstance(choice, dict) else choice
    heard.parallel = body.get("parallel_tool_calls")
    heard.schema = body.get("text", {}).get("format", {}).get("schema")
    heard.thinks = "reasoning" in body
    return heard


def _messages(body):
    heard = Heard("messages", body, system=_text(body.get("system")))
    for message in body["messages"]:
        content = message["content"]
        if text := _text(content):
            heard.texts.append(text)
        for block in _parts(content):
            match block["type"]:
                case "image":
                    assert block["source"]["media_type"] == "image/png"
                    heard.images.append(block["source"]["data"])
                case "tool_use":
                    heard.calls.append((block["id"], block["name"], block["input"]))
                case "tool_result":
                    heard.results[block["tool_use_id"]] = _text(block["content"])
                case "thinking":
                    heard.opaque.append(block["signature"])
                case "redacted_thinking":
                    heard.opaque.append(block["data"])
    for tool in body.get("tools", []):
        heard.tools[tool["name"]] = tool["input_schema"]
    choice = body.get("tool_choice") or {}
    kinds = {"any": "required", "tool": choice.get("name"), "auto": "auto", "none": "none"}
    heard.choice = kinds.get(choice.get("type"))
    if choice.get("disable_parallel_tool_use"):
        heard.parallel = False
    heard.schema = body.get("output_config", {}).get("format", {}).get("schema")
    heard.thinks = body.get("thinking", {}).get("type") == "enabled"
    return heard
