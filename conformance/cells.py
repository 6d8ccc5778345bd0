"""What a test says of itself for docs/compatibility.md: its client, the two dialects and the feature.

The suites of all clients share it, so it imports none of them.
"""

import importlib.metadata
import json


def record(request, record_property, package, ingress):
    """`package` is the client's name on PyPI; the feature stands in the mark `shows`."""
    call = getattr(request.node, "callspec", None)
    arguments = call.params if call else {}
    # Where each pair of dialects is a class of tests, the class says which.
    ingress = arguments.get("ingress") or getattr(request.cls, "INGRESS", None) or ingress
    egress = arguments.get("egress") or getattr(request.cls, "EGRESS", None) or "-"
    if callable(package):
        package = package(ingress)
    way = {True: ", streamed", False: ", whole"}.get(arguments.get("stream"), "")
    feature = request.node.get_closest_marker("shows").args[0] + way
    client = f"{package} (Python) {importlib.metadata.version(package)}"
    record_property("cell", json.dumps([client, ingress, egress, feature]))
