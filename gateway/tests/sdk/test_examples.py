"""The annotated example files: right, complete, and without a surprise."""

import os
import re
import subprocess

import pytest
import yaml

from stack import ROOT, program

EXAMPLES = ROOT / "examples"
KEYS_RS = ROOT / "gateway/src/settings/keys.rs"
# Variables that the examples read.
ENV = {
    "OPENAI_API_KEY": "sk-upstream",
    "GROQ_API_KEY": "gsk-upstream",
    "TEAM_A_KEY": "sk-team-a",
    "MY_SLUICE_KEY": "sk-mine",
    "CALLER_KEY": "sk-caller",
    "UPSTREAM_KEY": "sk-upstream",
}


def sluice(*words):
    env = {"PATH": os.environ["PATH"]} | ENV
    done = subprocess.run([program("sluice"), *words], env=env, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["sluice.annotated.yaml", "quickstart/sluice.yaml"])
def test_a_startup_file_passes_without_a_warning(name):
    file = str(EXAMPLES / name)
    assert sluice("check", "--config", file) == (0, f"OK: {file}\n", "")


@pytest.mark.parametrize("name", ["resources.annotated.yaml", "quickstart/resources.yaml"])
def test_a_resources_file_passes_without_a_warning(name):
    code, out, err = sluice("validate", "--resources", str(EXAMPLES / name))
    assert (code, err) == (0, "")
    assert re.search(r"loaded [1-9]\d* resource", out), out


def test_the_annotated_startup_file_has_every_key_and_no_other():
    text = (EXAMPLES / "sluice.annotated.yaml").read_text()
    # A `#` without a blank behind it hides a key. Later sections repeat blocks: read them apart.
    shown = re.sub(r"^( *)#(?=\S)|^#(?= +[a-z0-9_]+:(?: |$))", r"\1", text, flags=re.M)
    served, later = shown.split("# ---- Not supported yet ----")
    keys = paths(yaml.safe_load(served)) | paths(yaml.safe_load(later))
    assert keys == set(re.findall(r'^    \("([a-z0-9_.]+)", \w+\),$', KEYS_RS.read_text(), re.M))


def test_the_annotated_startup_file_shows_on_loopback_only():
    served = yaml.safe_load((EXAMPLES / "sluice.annotated.yaml").read_text())
    addresses = [served["proxy"]["addr"], served["observability"]["metrics"]["prometheus"]["addr"]]
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_the_files_of_the_readme_pass(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    startup, resources = tmp_path / "sluice.yaml", tmp_path / "resources.yaml"
    for file, text in zip([startup, resources], blocks, strict=True):
        file.write_text(text)
    assert sluice("check", "--config", str(startup))[::2] == (0, "")
    assert sluice("validate", "--resources", str(resources))[::2] == (0, "")


def paths(value, at=""):
    """Dotted paths of everything that is no mapping."""
    if not isinstance(value, dict):
        return {at}
    below = (paths(item, f"{at}.{key}" if at else key) for key, item in value.items())
    return set().union(*below)
