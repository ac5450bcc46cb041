#!/usr/bin/env python3
"""Writes the entries of a resources file as rows of etcd, with the ids that the file's loader derives.

    file_to_etcd.py resources.yaml [PREFIX]

Needs PyYAML and etcdctl, which reads ETCDCTL_ENDPOINTS and its other variables. Check the file with
`sluice validate` first; its variables must be set here too. Values go through pipes, never through
arguments. Nothing is deleted. Seal the rows afterwards: `sluice seal`.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import uuid

import yaml

NAMESPACE = uuid.UUID("63e50ab2-677a-54d3-8d1e-c0cb29ceae94")
# In this order no row refers to one that is still to come.
COLLECTIONS = """provider_keys models api_keys guardrails mcp_servers passthrough_routes guardrail_attachments
    mcp_policies mcp_auth_settings a2a_agents cache_policies observability_exporters rate_limit_policies
    oidc_providers claim_mappings ssls""".split()
SCOPES = {"model": "models", "mcp_server": "mcp_servers", "api_key": "api_keys",
          "passthrough_route": "passthrough_routes"}


def derived(collection, identity):
    return str(uuid.uuid5(NAMESPACE, f"{collection}/{identity}"))


def filled_in(value):
    """`${NAME}` from the environment, `$$` as `$`."""
    if isinstance(value, str):
        return re.sub(r"\$\$|\$\{(\w+)\}", lambda m: os.environ[m[1]] if m[1] else "$", value)
    if isinstance(value, list):
        return [filled_in(item) for item in value]
    if isinstance(value, dict):
        return {key: filled_in(item) for key, item in value.items()}
    return value


def by_id(document, name, field, collection):
    """`<name>: <a name>` becomes `<field>: <its id>`."""
    if name in document:
        document[field] = derived(collection, document.pop(name))


def conditions(nodes):
    for node in nodes:
        conditions(node.get("children", []))
        if (to := SCOPES.get(node.get("dimension"))) in ("models", "api_keys"):
            value = node["value"]
            many = isinstance(value, list)
            node["value"] = [derived(to, name) for name in value] if many else derived(to, value)


def row(collection, document):
    """The id, and the document without short forms."""
    if "key_env" in document:
        text = os.environ[document.pop("key_env")]
        document["key_hash"] = hashlib.sha256(text.encode()).hexdigest()
    by_id(document, "provider_key", "provider_key_id", "provider_keys")
    by_id(document, "anonymous_key", "anonymous_key_id", "api_keys")
    by_id(document, "guardrail", "guardrail_id", "guardrails")
    by_id(document.get("resolve", {}), "api_key", "api_key_id", "api_keys")
    by_id(document.get("anonymous", {}), "api_key", "api_key_id", "api_keys")
    if collection == "guardrail_attachments" and "scope" in document:
        scope, to = document.pop("scope"), SCOPES.get(document["scope_type"])
        document["scope_id"] = derived(to, scope) if to else scope
    if collection == "cache_policies" and document.get("applies_to", "").startswith("api_key:"):
        document["applies_to"] = "api_key:" + derived("api_keys", document["applies_to"][8:])
    if collection == "rate_limit_policies":
        if document.get("scope") in ("model", "api_key"):
            document["scope_ref"] = derived(SCOPES[document["scope"]], document["scope_ref"])
        conditions(document.get("conditions", []))
    if collection == "mcp_auth_settings":
        identity = "default"
    elif collection == "mcp_policies":
        identity = "/".join(filter(None, [document["scope"], document.get("scope_ref")]))
    elif collection == "guardrail_attachments":
        parts = [document["guardrail_id"], document["scope_type"], document.get("scope_id")]
        identity = "/".join(filter(None, parts))
    else:
        identity = document.get("name") or document["display_name"]
    return derived(collection, identity), document


def main(path, prefix="/sluice"):
    with open(path, encoding="utf-8") as file:
        resources = yaml.safe_load(file)
    for collection in COLLECTIONS:
        for entry in resources.get(collection) or []:
            ident, document = row(collection, filled_in(entry))
            value = json.dumps(document).encode()
            put = ["etcdctl", "put", f"{prefix}/{collection}/{ident}"]
            subprocess.run(put, input=value, stdout=subprocess.DEVNULL, check=True)
            print(put[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
