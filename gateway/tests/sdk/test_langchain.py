"""LangChain's own standard tests of usage, tools and structured output, through the gateway to every kind of upstream.

They want answers of a real model; the mock's script says those in its place.
"""

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from stack import CALLER_KEY

UPSTREAMS = ["plain", "openai", "claude"]
PLAIN = "events=3,usage_in=20,usage_cached=8,usage_out=6"


def called(tool, arguments):
    return f"parts=tool,tool_name={tool},args={arguments.encode().hex()},once=1"


MAGIC = called("magic_function", '{"input": 3}')
JOKE = '{"setup": "Why?", "punchline": "Because."}'
# The tests that are run, and what the upstream is to say in them.
SCRIPTS = {
    "test_invoke": PLAIN,
    "test_ainvoke": PLAIN,
    "test_stream": PLAIN,
    "test_astream": PLAIN,
    "test_stream_events_v3": PLAIN,
    "test_batch": PLAIN,
    "test_abatch": PLAIN,
    "test_conversation": PLAIN,
    "test_double_messages_conversation": PLAIN,
    "test_usage_metadata": PLAIN,
    "test_usage_metadata_streaming": PLAIN,
    "test_stop_sequence": PLAIN,
    "test_tool_calling": MAGIC,
    "test_tool_calling_async": MAGIC,
    "test_tool_choice": MAGIC,
    "test_tool_calling_with_no_arguments": called("magic_function_no_args", "{}"),
    "test_tool_message_histories_string_content": PLAIN,
    "test_tool_message_histories_list_content": PLAIN,
    "test_tool_message_error_status": PLAIN,
    "test_structured_few_shot_examples": PLAIN,
    "test_structured_output": f"json=1,args={JOKE.encode().hex()}",
    "test_structured_output_async": f"json=1,args={JOKE.encode().hex()}",
    "test_message_with_name": PLAIN,
    "test_agent_loop": called("get_weather", '{"location": "San Francisco, CA"}'),
}


class Standard(ChatModelIntegrationTests):
    # What the models below add to the package's defaults.
    extra = {}

    @pytest.fixture(params=UPSTREAMS)
    def upstream(self, request):
        return request.param

    @pytest.fixture
    def model(self, request, stack, upstream):
        self.stack = stack
        self.name = f"{upstream}/{SCRIPTS[request.node.originalname]}"
        changed = getattr(request, "param", None) or {}
        return self.chat_model_class(
            **self.standard_chat_model_params | self.chat_model_params | changed
        )

    @property
    def chat_model_params(self):
        return {
            "model": self.name,
            "base_url": self.base_url(),
            "api_key": CALLER_KEY,
            "max_retries": 0,
            **self.extra,
        }

    @property
    def structured_output_kwargs(self):
        return {"method": "json_schema"}

    def base_url(self):
        return self.stack.gateway.base_url


# Of the rest some need the network, some a model that understands.
for name in dir(Standard):
    if name.startswith("test_") and name not in SCRIPTS:
        setattr(Standard, name, None)


class TestChatOpenAI(Standard):
    # Elsewhere than at OpenAI the package does not ask for usage by itself.
    extra = {"stream_usage": True}

    @property
    def chat_model_class(self):
        return ChatOpenAI


class TestChatOpenAIResponses(TestChatOpenAI):
    extra = {"use_responses_api": True}


class TestChatAnthropic(Standard):
    @property
    def chat_model_class(self):
        return ChatAnthropic

    def base_url(self):
        return f"http://{self.stack.gateway.addr}"


del Standard
