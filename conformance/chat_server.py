"""Speaks OpenAI Chat for a model that is a function: of the request's JSON to calls and a text. Whole and streamed, with the
arguments of calls in small pieces.

Whoever imports it stands in a folder beside and runs as a program of its own, so that the stand can end it by process id.
"""

import http.server
import json

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


class Wrong(Exception):
    """What the model refuses with a 400."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.tell({"object": "list", "data": [{"id": self.server.name, "object": "model", "created": 1, "owned_by": "stand"}]})

    def tell(self, body, status=200):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            calls, text = self.server.answer(asked)
        except Wrong as wrong:
            return self.tell({"error": {"message": str(wrong), "type": "invalid_request_error", "param": "messages", "code": None}}, 400)
        finish = "tool_calls" if calls else "stop"
        usage = self.server.usage
        shared = {"id": "chatcmpl-1", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
            return self.tell({**shared, "object": "chat.completion", "usage": usage,
                              "choices": [{"index": 0, "message": message, "finish_reason": finish}]})
        words = [""] if calls else [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]]
        deltas = [{"role": "assistant", "content": words[0]}, *({"content": word} for word in words[1:])]
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
    # Fifty that come at once are not to be refused.
    request_queue_size = 128


def serve(port, name, answer, usage=USAGE):
    server = Server(("127.0.0.1", int(port)), Handler)
    server.name, server.answer, server.usage = name, answer, usage
    server.serve_forever()
