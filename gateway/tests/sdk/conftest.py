"""Each test runs twice: on io_uring and on epoll, one gateway and one upstream for each."""

import itertools
from dataclasses import dataclass

import openai
import pytest

from stack import CALLER_KEY, PATIENCE_S, Gateway, Mock


@dataclass
class Stack:
    gateway: Gateway
    mock: Mock

    def client(self, **options):
        """A client that does not retry, so that a test sees the first answer."""
        return openai.OpenAI(**self._options(options))

    def async_client(self, **options):
        return openai.AsyncOpenAI(**self._options(options))

    def _options(self, options):
        defaults = {"api_key": CALLER_KEY, "max_retries": 0, "timeout": PATIENCE_S}
        return {"base_url": self.gateway.base_url} | defaults | options


@pytest.fixture(scope="session", params=["io_uring", "epoll"])
def stack(request, tmp_path_factory):
    mock = Mock(tmp_path_factory.mktemp("mock"))
    request.addfinalizer(mock.stop)
    gateway = Gateway(request.param, mock, tmp_path_factory.mktemp("gateway"))
    request.addfinalizer(gateway.stop)
    return Stack(gateway, mock)


@pytest.fixture
def client(stack):
    with stack.client() as client:
        yield client


TAGS = itertools.count()


@pytest.fixture
def tag():
    """Marks the requests of one test at the upstream; part of a script."""
    return f"tag=t{next(TAGS)}x"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    stack = item.funcargs.get("stack") if hasattr(item, "funcargs") else None
    if report.failed and stack:
        report.sections.append(("stderr of the gateway", stack.gateway.stderr()))
    return report
