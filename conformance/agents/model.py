"""A model that edits a file, for agents that run on a command line: it does not think, it goes through its steps.

    model.py PORT

Which step is next it sees from the
results that the conversation holds; whoever loses one, or gives one twice, ends somewhere else. A request without
tools (a title for the session, say) is answered with a word.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from chat_server import serve

# Each step: calls of tools, as each agent names them. The folder is told in the first message.
CLAUDE_CODE = [
    [("Write", {"file_path": "{folder}/tide.txt", "content": "high at noon\n\"low\" at six — 潮\n"})],
    [("Read", {"file_path": "{folder}/tide.txt"})],
    [("Edit", {"file_path": "{folder}/tide.txt", "old_string": "noon", "new_string": "one"})],
    [("Read", {"file_path": "{folder}/tide.txt"}), ("Glob", {"pattern": "*.txt", "path": "{folder}"})],
]
CODEX = [
    [("exec_command", {"cmd": "printf 'high at noon\\n\"low\" at six — 潮\\n' > {folder}/tide.txt"})],
    [("exec_command", {"cmd": "cat {folder}/tide.txt"})],
    [("exec_command", {"cmd": "sed -i s/noon/one/ {folder}/tide.txt"}), ("exec_command", {"cmd": "ls {folder}"})],
]
GEMINI_CLI = [
    [("write_file", {"file_path": "{folder}/tide.txt", "content": "high at noon\n\"low\" at six — 潮\n"})],
    [("read_file", {"file_path": "{folder}/tide.txt"})],
    [("replace", {"file_path": "{folder}/tide.txt", "instruction": "The tide is later.", "old_string": "noon",
                  "new_string": "one"})],
    [("read_file", {"file_path": "{folder}/tide.txt"}), ("glob", {"pattern": "*.txt"})],
]
LAST = "The tide is in the file."


def texts(message):
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def answer(asked):
    """The calls or the text that come next."""
    if not asked.get("tools"):
        return [], "Tide"
    messages = asked["messages"]
    called = [call["id"] for message in messages for call in message.get("tool_calls") or []]
    results = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    # Of calls made together, whichever ends first may be told first.
    if sorted(called) != sorted(results):
        return [], f"called {called}, but the results are of {results}"
    offered = {tool["function"]["name"] for tool in asked["tools"]}
    known = [("exec_command", CODEX), ("write_file", GEMINI_CLI), ("Write", CLAUDE_CODE)]
    steps = next((steps for tool, steps in known if tool in offered), [])
    for number, calls in enumerate(steps):
        if len(results) == sum(len(earlier) for earlier in steps[:number]):
            said = " ".join(texts(message) for message in messages if message["role"] == "user")
            folder = said.rsplit("FOLDER=", 1)[1].split()[0]
            missing = {name for name, _ in calls} - offered
            if missing:
                return [], f"{missing} are not among {sorted(offered)}"
            return [{"id": f"call_{number}_{index}", "type": "function", "function": {
                "name": name, "arguments": json.dumps({key: value.replace("{folder}", folder) for key, value in arguments.items()},
                                                      ensure_ascii=False)}} for index, (name, arguments) in enumerate(calls)], None
    return [], LAST


if __name__ == "__main__":
    serve(sys.argv[1], "steps", answer)
