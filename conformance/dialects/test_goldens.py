"""The requests that the goldens of the pairs hold (`crates/providers/tests/pairs/golden`) fit the types of the provider's SDK."""

import json
import pathlib
import re

import fits
import pytest

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "crates" / "providers" / "tests" / "pairs" / "golden"
CHECKS = {"chat": fits.openai_chat, "messages": fits.anthropic_messages, "gemini": fits.gemini,
          "responses": fits.openai_responses}


def requests(provider):
    """(golden and feature, body) of every request to a provider of the dialect that is not refused."""
    for folder in sorted(GOLDEN.glob(f"*-client-{provider}-provider")):
        for section in re.split(r"^## ", (folder / "requests.txt").read_text(), flags=re.M)[1:]:
            feature, _, rest = section.partition("\n")
            if not rest.startswith("refused "):
                head, body = rest[:rest.index("\n{")], json.loads(rest[rest.index("\n{"):])
                # Of the version before, which the newest SDK has no types for: these three are gone from the next one.
                gone = ("temperature", "top_p", "top_k") if "anthropic-version: 2023-06-01" in head else ()
                yield f"{folder.name}: {feature}", {name: value for name, value in body.items() if name not in gone}


@pytest.mark.third
@pytest.mark.parametrize("provider", list(CHECKS))
def test_every_golden_fits_the_vendors_types(provider):
    seen = list(requests(provider))
    assert len(seen) >= 30, f"only {len(seen)} goldens were found"
    faults = [f"{where}: {fault}" for where, body in seen for fault in CHECKS[provider](body)]
    assert not faults, f"{len(faults)} faults in {len(seen)} requests:\n" + "\n".join(faults[:40])
