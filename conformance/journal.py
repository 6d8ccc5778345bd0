"""The scripted upstream's own record of what it was asked and how it ended."""

import json
import pathlib
import time


class Journal:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def lines(self):
        # Not `splitlines`: a body may hold U+2028. What follows the last newline is still being written.
        for line in self.path.read_text().split("\n")[:-1]:
            yield json.loads(line)

    def dispatches(self, request_id, patience=10.0):
        """All dispatches of one request of ours, each with its `end`; waits (bounded) until they ended."""
        deadline = time.monotonic() + patience
        while True:
            found, ends = {}, {}
            for line in self.lines():
                if line["line"] == "dispatch" and line["request_id"] == request_id:
                    found[line["number"]] = line
                elif line["line"] == "end":
                    ends[line["number"]] = line["end"]
            done = found and all(number in ends for number in found)
            if done or time.monotonic() > deadline:
                assert done, f"the upstream knows {len(found)} dispatches of {request_id}, not all of them ended"
                return [dict(found[number], end=ends[number]) for number in sorted(found)]
            time.sleep(0.02)

    def requests_of(self, marker):
        """Distinct requests of ours whose body holds the marker."""
        return {line["request_id"] for line in self.lines()
                if line["line"] == "dispatch" and marker in (line.get("body") or "")}
