"""The program `llm`, with models of its file for servers that speak like OpenAI: by its command line, as its users have it."""

import json

import click.testing
import pytest
from conftest import AT_ONCE, EGRESS, KEY, URL, model
from llm.cli import cli

PACKAGE = "llm"
INGRESSES = ["chat", "responses"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the program keeps its models, keys and conversations."""
    folder = tmp_path_factory.mktemp("llm")
    models = [{"model_id": f"{ingress}-{egress}-{short}", "model_name": model(egress, short), "api_base": f"{URL}/v1",
               "api_key_name": "tidegate", "supports_schema": True, "supports_tools": True, "responses": ingress == "responses"}
              for ingress in INGRESSES for egress in EGRESS for short in ("echo", "tools", "json", "wrong")]
    # JSON is YAML.
    (folder / "extra-openai-models.yaml").write_text(json.dumps(models))
    (folder / "keys.json").write_text(json.dumps({"tidegate": KEY}))
    return folder


@pytest.fixture
def llm(ingress, egress, folder):
    """Runs the program: the model's short name, and the words after it."""
    def run(short, *words):
        # In this process, since a start of its own takes a second each time.
        runner = click.testing.CliRunner(env={"HOME": str(folder), "LLM_USER_PATH": str(folder)})
        return runner.invoke(cli, ["prompt", "-m", f"{ingress}-{egress}-{short}", *words])
    return run


def said(done):
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.mark.shows("Text, and the turn after it")
def test_text(ingress, llm, stream):
    way = [] if stream else ["--no-stream"]
    assert "the tide" in said(llm("echo", "-s", "Be brief.", *way, "the tide" + AT_ONCE))
    assert "and the moon" in said(llm("echo", "-c", *way, "and the moon" + AT_ONCE))


@pytest.mark.shows("Tool calls, run and answered")
def test_tools(ingress, llm, stream):
    functions = 'def weather(city: str) -> str:\n    "Tells the weather."\n    return f"fine in {city}"\n'
    way = [] if stream else ["--no-stream"]
    assert "fine in" in said(llm("tools", "--functions", functions, *way, "the weather?" + AT_ONCE))


@pytest.mark.shows("Structured output")
def test_schema(ingress, llm):
    ferry = json.loads(said(llm("json", "--schema", "name, seats int", "a ferry" + AT_ONCE)))
    assert isinstance(ferry["name"], str) and isinstance(ferry["seats"], int)


@pytest.mark.shows("Errors of the upstream")
def test_errors(ingress, llm):
    done = llm("wrong", "x")
    assert done.exit_code != 0 and "400" in done.output, done.output
