"""A model that edits a file, for agents that run on a command line: it does not think, it goes through its steps.

    model.py PORT

Speaks OpenAI Chat, whole and streamed, with the arguments of its calls in small pieces. Which step is next it sees from the
results that the conversation holds; whoever loses one, or gives one twice, ends somewhere else. A request without
tools (a title for the session, say) is answered with a word.
"""

import http.server
import json
import sys

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
    if called != results:
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


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.tell({"object": "list", "data": [{"id": "steps", "object": "model", "created": 1, "owned_by": "stand"}]})

    def tell(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        calls, text = answer(asked)
        finish = "tool_calls" if calls else "stop"
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        shared = {"id": "chatcmpl-1", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
            return self.tell({**shared, "object": "chat.completion", "usage": usage,
                              "choices": [{"index": 0, "message": message, "finish_reason": finish}]})
        deltas = [{"role": "assistant", "content": "" if calls else text}]
        for index, call in enumerate(calls):
            whole = call["function"]["arguments"]
            deltas.append({"tool_calls": [{**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}]})
            deltas += [{"tool_calls": [{"index": index, "function": {"arguments": whole[at:at + 7]}}]} for at in range(0, len(whole), 7)]
        chunks = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        chunks.append({"index": 0, "delta": {}, "finish_reason": finish})
        events = [{**shared, "object": "chat.completion.chunk", "choices": [chunk]} for chunk in chunks]
        events.append({**shared, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
