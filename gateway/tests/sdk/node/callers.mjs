// Node's official packages for the tests: a line of JSON asks, a line of JSON answers.

import { createInterface } from "node:readline";
import Anthropic, { APIError as AnthropicError } from "@anthropic-ai/sdk";
import OpenAI, { APIError as OpenAIError } from "openai";

const protocols = { chat, responses, messages };

async function chat(client, { body, stream }) {
  let answer;
  let thinking = "";
  if (stream) {
    const events = client.chat.completions.stream({
      ...body,
      stream_options: { include_usage: true },
    });
    for await (const chunk of events) {
      for (const choice of chunk.choices) thinking += choice.delta.reasoning_content ?? "";
    }
    answer = await events.finalChatCompletion();
  } else {
    answer = await client.chat.completions.create(body);
    thinking = answer.choices[0].message.reasoning_content ?? "";
  }
  const { message, finish_reason } = answer.choices[0];
  const calls = message.tool_calls ?? [];
  const turn = { role: message.role, content: message.content };
  const blocks = message.thinking_blocks ?? [];
  if (blocks.length > 0) turn.thinking_blocks = blocks;
  if (calls.length > 0) {
    turn.tool_calls = calls.map(({ id, type, function: { name, arguments: json } }) => ({
      id,
      type,
      function: { name, arguments: json },
    }));
  }
  return {
    text: message.content ?? "",
    calls: calls.map((call) => ({
      id: call.id,
      name: call.function.name,
      arguments: JSON.parse(call.function.arguments),
    })),
    thinking,
    finish: finish_reason,
    fresh: answer.usage.prompt_tokens,
    cached: answer.usage.prompt_tokens_details?.cached_tokens ?? 0,
    written: answer.usage.completion_tokens,
    id: answer.id,
    model: answer.model,
    turn,
    opaque: blocks.map((block) => block.signature ?? block.data),
  };
}

async function responses(client, { body, stream }) {
  let answer;
  if (stream) {
    const events = client.responses.stream(body);
    // The package gives errors inside a stream out as events.
    for await (const event of events) {
      if (event.type === "error") throw new OpenAIError(undefined, undefined, event.message);
      if (event.type === "response.failed") {
        throw new OpenAIError(undefined, undefined, event.response.error.message);
      }
    }
    answer = await events.finalResponse();
  } else {
    answer = await client.responses.create(body);
  }
  const calls = answer.output.filter((item) => item.type === "function_call");
  const reasoning = answer.output.filter((item) => item.type === "reasoning");
  return {
    text: answer.output_text,
    calls: calls.map((call) => ({
      id: call.call_id,
      name: call.name,
      arguments: JSON.parse(call.arguments),
    })),
    thinking: reasoning.flatMap((item) => item.summary.map((part) => part.text)).join(""),
    finish: answer.incomplete_details?.reason ?? answer.status,
    fresh: answer.usage.input_tokens,
    cached: answer.usage.input_tokens_details.cached_tokens,
    written: answer.usage.output_tokens,
    id: answer.id,
    model: answer.model,
    turn: answer.output.map(({ parsed_arguments, ...item }) => item),
    opaque: reasoning.map((item) => item.encrypted_content).filter(Boolean),
  };
}

async function messages(client, { body, stream }) {
  const answer = stream
    ? await client.messages.stream(body).finalMessage()
    : await client.messages.create(body);
  const of = (type) => answer.content.filter((block) => block.type === type);
  const opaque = answer.content.map((block) => block.signature ?? block.data).filter(Boolean);
  return {
    text: of("text").map((block) => block.text).join(""),
    calls: of("tool_use").map(({ id, name, input }) => ({ id, name, arguments: input })),
    thinking: of("thinking").map((block) => block.thinking).join(""),
    finish: answer.stop_reason,
    fresh: answer.usage.input_tokens,
    cached: answer.usage.cache_read_input_tokens ?? 0,
    written: answer.usage.output_tokens,
    id: answer.id,
    model: answer.model,
    turn: answer.content.map(({ parsed_output, ...block }) => block),
    opaque,
  };
}

// Opens a stream and leaves after some of its events.
async function leave(client, { protocol, body, leave_after }) {
  const apis = {
    chat: client.chat?.completions,
    responses: client.responses,
    messages: client.messages,
  };
  let seen = 0;
  for await (const _ of await apis[protocol].create({ ...body, stream: true })) {
    if (++seen === leave_after) break;
  }
  return { seen };
}

// Clients live on: connections are kept between asks, as in an application.
const clients = new Map();

function clientOf({ protocol, addr, key, timeout_ms }) {
  const kind = protocol === "messages" ? "anthropic" : "openai";
  const name = `${kind} ${addr}`;
  if (!clients.has(name)) {
    const options = { apiKey: key, maxRetries: 0, timeout: timeout_ms };
    clients.set(
      name,
      kind === "anthropic"
        ? new Anthropic({ ...options, baseURL: `http://${addr}` })
        : new OpenAI({ ...options, baseURL: `http://${addr}/v1` }),
    );
  }
  return clients.get(name);
}

for await (const line of createInterface({ input: process.stdin })) {
  const ask = JSON.parse(line);
  let answer;
  try {
    const act = ask.leave_after ? leave : protocols[ask.protocol];
    answer = await act(clientOf(ask), ask);
  } catch (error) {
    const { status = null, message } = error;
    const known = error instanceof OpenAIError || error instanceof AnthropicError;
    answer = known
      ? { failed: { kind: error.constructor.name, status, message } }
      : { unexpected: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
