#!/usr/bin/env python3
"""The stand that client suites run on: an upstream, a gateway in front of it, both on loopback, both ours to end.

    stand.py [--llama SERVER MODEL] [--no-upstream] [--loops] [--vectors] [--media] [--agent] [--obliging] -- COMMAND [ARGUMENT...]

Starts the scripted upstream (or llama-server), then `tidegate serve` with a settings file written for the occasion,
waits until it is ready, runs the command with the addresses and keys in its environment, and ends what it started, by
process id. The code is the command's.

`--loops` adds providers that are the gateway itself: `anthropic` at its mount /anthropic, `gemini` at /gemini, `openai`
at /openai/v1. A request for `anthropic/demo/tools` leaves the gateway in Anthropic's dialect and comes back to it as a
request for `demo/tools`. So every dialect is written, read and answered without a fake of our own for it, and what goes
over those wires is written down (`recorder.py`).

`--vectors` adds makers of embeddings and sorters of documents that take their own words and no others: `openai`, `gemini`,
`cohere`, `jina`.

`--media` adds `openai`, `anthropic` and `gemini` of a vendor of pictures, sound, files and batches (`media/vendor.py`).

`--agent` adds a model that tells an agent step by step what to do (`agents/model.py`); of the loops' names it is `agent`.

`--obliging` adds a model that does what it is told in plain words (`standard/model.py`); of the loops' names it is `obliging`.

Why a program of its own: the same stand serves the Python suite, the Node suite, the engine suite and the commands of
the documentation, and none of them should know how a server is started.
"""

import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from recorder import Recorder

PATIENCE = 60
# Knows tools, in a form that begins with `{`: a sign that even random weights come to, and from there the engine's grammar
# leaves them no choice.
TEMPLATE = pathlib.Path(__file__).parent / "llama" / "template.jinja"
KEYS = {
    "app": "",
    "narrow": 'models = ["demo/echo"]\n',
    "hasty": "limits = { requests_per_minute = 1 }\n",
    "single": "limits = { concurrency = 1 }\n",
    "poor": 'budgets = [{ name = "tiny", amount = "0.000001", currency = "USD", window = "total" }]\n',
    "metered": 'limits = { requests_per_minute = 6000, tokens_per_minute = 60000000 }\n'
               'budgets = [{ name = "monthly", amount = "25.00", currency = "USD", window = "month" }]\n',
}


# Below those that Linux hands out, so that no outgoing connection takes one before its program listens there.
PORTS = range(12_000, 32_000)
turns = itertools.count(os.getpid() * 97)


def free_port():
    for turn in itertools.islice(turns, len(PORTS)):
        port = PORTS[turn % len(PORTS)]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("no port is free")


class Stand:
    """What was started, in the order in which it was started."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.processes = []

    def spawn(self, name, command, **more):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **more)
        self.processes.append((name, process))
        return process

    def until(self, name, process, url):
        """Waits until the address answers 200; a process that ended or never answers is an error with its output."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        text = (self.folder / f"{name}.log").read_text(errors="replace")
        raise SystemExit(f"{name} did not come up at {url}; it said:\n{text[-4000:]}")

    def listens(self, name, process, port):
        """Waits until somebody listens at the port."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{name} did not come up at port {port}")

    def end(self):
        for _, process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for name, process in reversed(self.processes):
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                print(f"{name} did not stop when asked; killed", file=sys.stderr)
                process.kill()
                process.wait()


def settings(folder, port, providers, behind, secrets):
    """`behind`: what the environment has in which the gateway meets itself as a provider, as another gateway would be."""
    keys = "".join(f'\n[keys.{name}]\nsecret = "env:STAND_KEY_{name.upper()}"\n{KEYS[name]}' for name in secrets)
    if behind:
        keys += ('\n[environments.loop]\nlayer = "development"\nworkspace = "default"\n'
                 + re.sub(r"^\[(?=providers|models|routes)", "[environments.loop.", behind, flags=re.M)
                 + '\n[environments.loop.keys.loop]\nsecret = "env:STAND_KEY_LOOP"\n')
    return f"""[server]
listen = "127.0.0.1:{port}"
data_dir = "{folder / 'data'}"
drain = {{ accept = "0s", deadline = "5s" }}
{providers}{keys}"""


def scripted(stand, fakes):
    port = free_port()
    journal = stand.folder / "journal.jsonl"
    process = stand.spawn("upstream", [fakes, "upstream", "--listen", f"127.0.0.1:{port}", "--journal", str(journal),
                                       "--bodies"])
    stand.until("upstream", process, f"http://127.0.0.1:{port}/v1/models")
    closed = free_port()
    providers = f"""
[providers.up]
dialect = "openai"
base_url = "http://127.0.0.1:{port}/v1"

[models."up/ok"]
price = {{ input = "0.10", output = "0.40", currency = "USD" }}

[providers.gone]
dialect = "openai"
base_url = "http://127.0.0.1:{closed}/v1"
models = ["nothing"]

[routes.chat]
targets = [{{ model = "gone/nothing" }}]
fallbacks = ["up/ok"]

[routes.doomed]
targets = [{{ model = "gone/nothing" }}]
fallbacks = ["up/ok-s503"]
"""
    return providers, {"STAND_UPSTREAM": f"http://127.0.0.1:{port}/v1", "STAND_JOURNAL": str(journal)}


# What the tests of the dialects ask for, by a short name. What a dialect's writer may say depends on the model's family,
# so upstream each has a name of the vendor's kind: `anthropic/claude-opus-5-tools` comes back as the route
# `claude-opus-5-tools`, behind which stands `demo/tools`.
MODELS = {
    **{name: f"demo/{name}" for name in ("echo", "story", "tools", "json", "vision", "refuse", "fail", "slow")},
    "plain": "up/ok", "think": "up/ok-think-t12", "cached": "up/ok-i100-c40", "dies": "up/ok-t20-d2-rst5",
    "errs": "up/ok-t20-d2-err5", "busy": "up/ok-s429-ra2", "broken": "up/ok-s503", "wrong": "up/ok-s400",
    "filtered": "up/ok-filter", "pings": "up/ok-t12-d5-ping3", "endless": "up/ok-t4000-d5", "hangs": "up/ok-hang",
}
FAMILIES = {"anthropic": ("anthropic", "claude-opus-5"), "gemini": ("gemini", "gemini-3-pro"),
            "openai": ("openai/v1", "gpt-5")}


# Routes that are called as the model behind them calls itself, by the provider on the way.
OWN_NAMES = {"": "echo", "anthropic": "story", "gemini": "vision", "openai": "tools"}


def own_names():
    routes = ""
    for provider, name in OWN_NAMES.items():
        model = f"{provider}/{FAMILIES[provider][1]}-{name}" if provider else MODELS[name]
        routes += f'\n[routes.{name}]\ntargets = [{{ model = "{model}" }}]\n'
    return routes, {"STAND_OWN_NAMES": json.dumps(OWN_NAMES)}


def loops(recorder):
    """Providers that are this gateway's own mounts, behind the recorder, and the routes that come back from them."""
    providers = "".join(f"""
[providers.{name}]
dialect = "{name}"
base_url = "http://127.0.0.1:{recorder.port}/{path}"
credential = "env:STAND_KEY_LOOP"
""" for name, (path, _) in FAMILIES.items())
    routes = "".join(f"""
[routes."{family}-{short}"]
targets = [{{ model = "{model}" }}]
""" for _, family in FAMILIES.values() for short, model in MODELS.items())
    names = {name: {short: f"{name}/{family}-{short}" for short in MODELS} for name, (_, family) in FAMILIES.items()}
    return providers, routes, {"STAND_RECORD": str(recorder.path), "STAND_MODELS": json.dumps({**names, "": MODELS})}


VECTORS = {"openai": "/v1", "gemini": "", "cohere": "/compatibility/v1", "jina": "/v1"}


def vectors(stand, fakes):
    """Each at a port of its own, under the vendor's row with another address."""
    providers = ""
    for name, path in VECTORS.items():
        port = free_port()
        process = stand.spawn(name, [fakes, "vendor", "--manner", name, "--listen", f"127.0.0.1:{port}"])
        # No path of theirs answers 200 to a stranger.
        stand.listens(name, process, port)
        dialect = 'dialect = "gemini"\n' if name == "gemini" else ""
        providers += f"""
[providers.{name}]
{dialect}base_url = "http://127.0.0.1:{port}{path}"
credential = "env:STAND_KEY_LOOP"
"""
    return providers


def media(stand):
    port = free_port()
    journal = stand.folder / "media.jsonl"
    process = stand.spawn("media", [sys.executable, str(pathlib.Path(__file__).parent / "media" / "vendor.py"),
                                    str(port), str(journal)])
    stand.listens("media", process, port)
    rows = {"openai": "/v1", "anthropic": "/anthropic/v1", "gemini": "/google/v1beta"}
    providers = "".join(f"""
[providers.{name}]
dialect = "{name}"
base_url = "http://127.0.0.1:{port}{path}"
credential = "env:STAND_VENDOR"
""" for name, path in rows.items())
    return providers, {"STAND_MEDIA": str(journal), "STAND_VENDOR": "vendors-own-credential"}


def played(stand, name, path, model):
    """A provider whose one model is a program of ours."""
    port = free_port()
    process = stand.spawn(name, [sys.executable, str(pathlib.Path(__file__).parent / path), str(port)])
    stand.listens(name, process, port)
    MODELS[name] = f"{name}/{model}"
    return f"""
[providers.{name}]
dialect = "openai"
base_url = "http://127.0.0.1:{port}/v1"
models = ["{model}"]
"""


def engine(stand, server, model):
    port = free_port()
    process = stand.spawn("llama", [server, "--model", model, "--host", "127.0.0.1", "--port", str(port), "--threads",
                                    "1", "--parallel", "2", "--ctx-size", "65536", "--metrics", "--slots", "--alias",
                                    "tiny", "--embeddings", "--pooling", "mean", "--no-webui", "--jinja",
                                    "--chat-template-file", str(TEMPLATE)])
    stand.until("llama", process, f"http://127.0.0.1:{port}/health")
    providers = f"""
[providers.local]
dialect = "openai"
base_url = "http://127.0.0.1:{port}/v1"
models = "discover"

[models."local/tiny"]
price = {{ input = "0.10", output = "0.40", currency = "USD" }}
context = 32768
"""
    return providers, {"STAND_UPSTREAM": f"http://127.0.0.1:{port}"}


def main(arguments):
    at = arguments.index("--")
    options, command = arguments[:at], arguments[at + 1:]
    tidegate = os.environ["TIDEGATE_BIN"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-stand-"))
    stand = Stand(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = 1
    try:
        secrets = {}
        for name in [*KEYS, "loop"]:
            made = subprocess.run([tidegate, "keys", "create", "--offline"], check=True, capture_output=True, text=True)
            secrets[name] = re.search(r"tg-[0-9A-Za-z]{38}", made.stdout).group()
        environment = dict(os.environ)
        environment.update({f"STAND_KEY_{name.upper()}": secret for name, secret in secrets.items()})
        providers, behind = "", ""
        port = free_port()
        if options[:1] == ["--llama"]:
            providers, more = engine(stand, options[1], options[2])
            environment.update(more)
        elif "--no-upstream" not in options:
            providers, more = scripted(stand, os.environ["FAKES_BIN"])
            environment.update(more)
        if "--vectors" in options:
            providers += vectors(stand, os.environ["FAKES_BIN"])
        if "--media" in options:
            more_providers, more = media(stand)
            providers += more_providers
            environment.update(more)
        if "--agent" in options:
            providers += played(stand, "agent", "agents/model.py", "steps")
        if "--obliging" in options:
            providers += played(stand, "obliging", "standard/model.py", "obliging")
        if "--loops" in options:
            recorder = Recorder(port, folder / "upstream-requests.jsonl")
            circular, routes, more = loops(recorder)
            behind = providers + routes
            providers += circular
            environment.update(more)
        if "--obliging" in options:
            routes, more = own_names()
            providers += routes
            environment.update(more)
        file = folder / "tidegate.toml"
        file.write_text(settings(folder, port, providers, behind, {name: secret for name, secret in secrets.items() if name in KEYS}))
        gateway = stand.spawn("gateway", [tidegate, "serve", "--config", str(file)], env=environment, cwd=folder)
        stand.until("gateway", gateway, f"http://127.0.0.1:{port}/readyz")
        environment.update({
            "TIDEGATE_URL": f"http://127.0.0.1:{port}",
            "TIDEGATE_API_KEY": secrets["app"],
            "STAND_SETTINGS": str(file),
            "STAND_FOLDER": str(folder),
        })
        code = subprocess.run(command, env=environment).returncode
        if gateway.poll() is not None:
            print(f"the gateway ended by itself with code {gateway.returncode}", file=sys.stderr)
            code = code or 1
    finally:
        stand.end()
        if code == 0:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs and settings of this stand: {folder}", file=sys.stderr)
            print((folder / "gateway.log").read_text(errors="replace")[-3000:] if (folder / "gateway.log").exists()
                  else "the gateway was not started", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
