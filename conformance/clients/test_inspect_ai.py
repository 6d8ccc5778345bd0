"""Inspect, which measures models: an evaluation with a tool and with parallel samples, at Chat Completions and at Responses."""

import pytest
from conftest import AT_ONCE, KEY, URL, Ferry
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, ResponseSchema, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool
from inspect_ai.util import json_schema

PACKAGE = "inspect-ai"
INGRESSES = ["chat", "responses"]


@tool
def weather():
    async def execute(city: str):
        """Tells the weather.

        Args:
            city: Where.
        """
        return f"fine in {city}"
    return execute


def client(ingress, name, **config):
    return get_model(f"openai-api/tidegate/{name}", base_url=f"{URL}/v1", api_key=KEY, memoize=False,
                     config=GenerateConfig(max_retries=0, **config), responses_api=ingress == "responses")


def run(model, solver, samples, folder):
    [log] = eval(Task(dataset=samples, solver=solver, scorer=includes()), model=model, display="none", log_dir=str(folder),
                 fail_on_error=False)
    return log


@pytest.mark.shows("An evaluation of ten samples at once")
def test_samples(ingress, named, tmp_path):
    samples = [Sample(input=f"the tide {n}{AT_ONCE}", target=f"the tide {n}") for n in range(10)]
    log = run(client(ingress, named("echo")), generate(), samples, tmp_path)
    assert log.status == "success" and log.results.scores[0].metrics["accuracy"].value == 1
    [usage] = log.stats.model_usage.values()
    assert usage.input_tokens > 0 and usage.output_tokens > 0


@pytest.mark.shows("An evaluation with a tool")
def test_a_tool(ingress, named, tmp_path):
    log = run(client(ingress, named("tools")), [use_tools(weather()), generate()], [Sample(input="the weather?" + AT_ONCE, target="fine in")],
              tmp_path)
    assert log.status == "success" and log.results.scores[0].metrics["accuracy"].value == 1
    assert [message.role for message in log.samples[0].messages] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.shows("Structured output")
def test_a_schema(ingress, named, tmp_path):
    schema = ResponseSchema(name="ferry", json_schema=json_schema(Ferry), strict=True)
    log = run(client(ingress, named("json"), response_schema=schema), generate(), [Sample(input="a ferry" + AT_ONCE, target="seats")], tmp_path)
    assert isinstance(Ferry.model_validate_json(log.samples[0].output.completion), Ferry)


@pytest.mark.shows("Errors of the upstream")
def test_errors(ingress, named, tmp_path):
    log = run(client(ingress, named("wrong")), generate(), [Sample(input="x", target="x")], tmp_path)
    # It takes a 400 for an answer that says why.
    said = log.samples[0]
    assert "400" in str(said.error or said.output.error or said.output.completion), said
