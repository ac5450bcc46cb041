"""What nginx and Sluice are started with. One worker each, so that one CPU carries it."""

import json

KEY, LIMITED_KEY = "sk-perf", "sk-limited"
ENVIRONMENT = {"PERF_KEY": KEY, "LIMITED_KEY": LIMITED_KEY}
# A limit that is counted for each request and never reached.
NEVER = 1_000_000_000
COST = {"input_per_1k": 0.001, "output_per_1k": 0.002}


def sluice(work, engine, addr, status, tls=False):
    """The startup file: what a user has on is on; JSON is YAML."""
    settings = {
        "resources_file": str(work / "resources.yaml"),
        "proxy": {"addr": addr, "workers": 1, "io_engine": engine},
        # Nobody is left to be served when it is ended.
        "shutdown": {"min_drain_secs": 0},
        "observability": {
            "access_log_output": str(work / f"access-{engine}.log"),
            "metrics": {"prometheus": {"addr": status}},
        },
    }
    if tls:
        settings["proxy"]["tls"] = {"cert_file": str(work / "cert.pem"), "key_file": str(work / "key.pem")}
        settings["upstream"] = {"tls": {"ca_file": str(work / "cert.pem")}}
    return json.dumps(settings, indent=1)


def resources(upstream, policies=False):
    """Keys with an allow-list and a rate limit, and models of `upstream`, which is a URL."""
    def model(name, upstream_name="gpt", key="mock", provider="openai", **more):
        return {"display_name": name, "provider": provider, "model_name": upstream_name, "provider_key": key,
                "cost": COST, **more}

    limited = {"rate_limit": {"rpm": NEVER}}
    targets = [{"model": "t1", "weight": 3}, {"model": "t2"}, {"model": "t3"}, {"model": "t4"}]
    document = {
        "_format_version": "1",
        "provider_keys": [
            {"display_name": "mock", "provider": "openai", "adapter": "openai", "api_key": "sk-mock",
             "api_base": f"{upstream}/v1"},
            {"display_name": "claude", "provider": "anthropic", "api_key": "sk-mock", "api_base": upstream},
        ],
        "models": [
            model("gpt"), *(model(f"t{number}", **limited) for number in range(1, 5)),
            {"display_name": "team", "routing": {"strategy": "round_robin", "targets": targets}},
            model("mock/*", "*"), model("claude/*", "*", "claude", "anthropic"),
        ],
        "api_keys": [
            {"display_name": "perf", "key_env": "PERF_KEY", "allowed_models": ["mock/*", "claude/*", "gpt"],
             "rate_limit": {"rpm": NEVER}},
            {"display_name": "limited", "key_env": "LIMITED_KEY", "allowed_models": ["team"], "team_id": "red",
             "rate_limit": {"rpm": NEVER, "tpm": 100 * NEVER}},
        ],
    }
    if policies:
        document["rate_limit_policies"] = [
            {"name": "team", "scope": "team", "scope_ref": "red", "window": "day", "max_requests": NEVER},
            {"name": "fast", "conditions": [{"dimension": "model_name", "operator": "~~", "value": "^t"}],
             "group_by": ["team", "model"], "limits": {"rph": NEVER, "concurrency": 100_000}},
        ]
    return json.dumps(document, indent=1)
