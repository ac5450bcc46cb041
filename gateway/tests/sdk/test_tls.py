"""The official package over TLS, with the commands and settings of docs/tls.md."""

import re
import ssl
import subprocess
from types import SimpleNamespace

import httpx
import openai
import pytest
import yaml
from sslyze import (
    ScanCommand,
    ScanCommandAttemptStatusEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    ServerScanStatusEnum,
)

from stack import CALLER_KEY, PATIENCE_S, ROOT, Gateway, Mock

NAME = "gateway.test"


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / "docs/tls.md").read_text(), re.S)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What the first block of commands makes, and a client's certificate of the same authority."""
    directory = tmp_path_factory.mktemp("tls")
    commands = blocks("sh")[0]
    subprocess.run(["sh", "-euc", commands], cwd=directory, check=True, capture_output=True)
    client = commands.replace("gateway", "client")
    client = client[client.index("openssl req -newkey") :]
    client = client.replace("ca.client", "ca.gateway")
    subprocess.run(["sh", "-euc", client], cwd=directory, check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def secure(request, files, tmp_path_factory):
    """A gateway with the settings of the page, its paths made absolute."""
    mock = Mock(tmp_path_factory.mktemp("mock"))
    request.addfinalizer(mock.stop)
    tls = yaml.safe_load(blocks("yaml")[0])["proxy"]["tls"]
    tls = {key: str(files / name) for key, name in tls.items()}
    tls |= {"client_ca_file": str(files / "ca.pem"), "client_verify": "optional"}
    gateway = Gateway(request.param, mock, tmp_path_factory.mktemp("gateway"), tls=tls)
    request.addfinalizer(gateway.stop)
    return SimpleNamespace(gateway=gateway, files=files)


def client(secure, version, shown, http2=False):
    context = ssl.create_default_context(cafile=secure.files / "ca.pem")
    context.minimum_version = context.maximum_version = version
    if shown:
        context.load_cert_chain(secure.files / "client.pem", secure.files / "client.key")
    # The name is not in any resolver: it is asked for and verified, the address is dialled.
    http = httpx.Client(
        verify=context, timeout=PATIENCE_S, headers={"host": NAME}, http2=http2
    )
    http.event_hooks["request"] = [
        lambda request: request.extensions.update(sni_hostname=NAME)
    ]
    return openai.OpenAI(
        base_url=secure.gateway.base_url, api_key=CALLER_KEY, max_retries=0, http_client=http
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("http2", [False, True])
def test_answers_and_streams_come_over_tls(secure, version, shown, http2):
    messages = [{"role": "user", "content": "Hello"}]
    with client(secure, version, shown, http2) as caller:
        raw = caller.chat.completions.with_raw_response.create(model="m", messages=messages)
        assert raw.http_response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        answer = caller.chat.completions.create(model="m", messages=messages)
        assert answer.choices[0].finish_reason == "stop"
        stream = caller.chat.completions.create(
            model="script/events=20", messages=messages, stream=True
        )
        texts = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
        assert [text for text in texts if text][19].startswith("e19 ")


def test_an_authority_that_is_not_known_is_not_talked_to(secure):
    with openai.OpenAI(
        base_url=secure.gateway.base_url, api_key=CALLER_KEY, max_retries=0
    ) as caller:
        with pytest.raises(openai.APIConnectionError):
            caller.models.list()


# What sslyze calls the suites of docs/tls.md, "What is spoken", for a P-256 certificate.
SPOKEN = {
    "tls_1_2": {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    },
    "tls_1_3": {
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    },
}
SUITES = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3"]
FLAWS = {
    "heartbleed": lambda found: found.is_vulnerable_to_heartbleed,
    "openssl_ccs_injection": lambda found: found.is_vulnerable_to_ccs_injection,
    "robot": lambda found: found.robot_result.name.startswith("VULNERABLE"),
    "session_renegotiation": lambda found: found.is_vulnerable_to_client_renegotiation_dos,
    "tls_compression": lambda found: found.supports_compression,
    "tls_1_3_early_data": lambda found: found.supports_early_data,
    "tls_fallback_scsv": lambda found: not found.supports_fallback_scsv,
    "tls_extended_master_secret": lambda found: not found.supports_ems_extension,
}


@pytest.fixture(scope="module")
def scan(secure):
    """What sslyze finds at the callers' listener, by the name of its command."""
    host, port = secure.gateway.addr.rsplit(":", 1)
    commands = [*(f"{version}_cipher_suites" for version in SUITES), *FLAWS]
    request = ServerScanRequest(
        server_location=ServerNetworkLocation(hostname=NAME, ip_address=host, port=int(port)),
        network_configuration=ServerNetworkConfiguration(tls_server_name_indication=NAME),
        scan_commands={ScanCommand(command) for command in commands},
    )
    scanner = Scanner(per_server_concurrent_connections_limit=2)
    scanner.queue_scans([request])
    (found,) = scanner.get_results()
    assert found.scan_status is ServerScanStatusEnum.COMPLETED, found.connectivity_error_trace
    attempts = {command: getattr(found.scan_result, command) for command in commands}
    for command, attempt in attempts.items():
        assert attempt.status is ScanCommandAttemptStatusEnum.COMPLETED, (command, attempt.error_trace)
    return {command: attempt.result for command, attempt in attempts.items()}


@pytest.mark.parametrize("version", SUITES)
def test_a_scanner_finds_no_weak_protocol_and_no_weak_cipher(scan, version):
    accepted = scan[f"{version}_cipher_suites"].accepted_cipher_suites
    assert {suite.cipher_suite.name for suite in accepted} == SPOKEN.get(version, set())


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_scanner_finds_no_flaw(scan, flaw):
    assert not FLAWS[flaw](scan[flaw]), scan[flaw]
