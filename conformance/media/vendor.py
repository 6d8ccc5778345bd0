"""A vendor of what is no conversation: pictures, sound, moderations, files, batches, in the ways of OpenAI, Anthropic
and Google.

    vendor.py PORT JOURNAL

It takes its own credential alone, at each vendor's place, and writes down what came (method, path, query, headers, the
digest of the body). What it answers says what it was asked, so that a test sees whether a byte was lost on the way.

Why beside the scripted upstream: forms, binary answers and addresses that lead elsewhere are nothing that one can
script as a line of text, and no test of conversations needs them.
"""

import hashlib
import http.server
import itertools
import json
import pathlib
import sys
import threading
import urllib.parse

CREDENTIAL = "vendors-own-credential"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SOUND = bytes(range(256)) * 512
numbers = itertools.count(1)
lock = threading.Lock()
kept = {}


def form(content_type, body):
    """The parts of a form: name to (file name or None, bytes)."""
    boundary = content_type.split("boundary=")[1].strip('"').encode()
    parts = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        disposition = next(line for line in head.decode().split("\r\n") if line.lower().startswith("content-disposition"))
        words = dict(word.strip().split("=", 1) for word in disposition.split(";")[1:])
        parts[words["name"].strip('"')] = (words.get("filename", "").strip('"') or None, content[:-2])
    return parts


def digest(content):
    return hashlib.sha256(content).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "") == "chunked":
            content = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def tell(self, status, content, kind="application/json", headers=()):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def pieces(self, kind, pieces):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def events(self, events):
        self.pieces("text/event-stream", [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
                                          for event in events])

    def answer(self):
        address = urllib.parse.urlsplit(self.path)
        content = self.body()
        with lock, open(JOURNAL, "a") as journal:
            print(json.dumps({"method": self.command, "path": address.path, "query": address.query,
                              "headers": {name.lower(): value for name, value in self.headers.items()},
                              "digest": digest(content)}), file=journal)
        path = address.path
        try:
            if path.startswith("/v1/"):
                if self.headers.get("authorization") != f"Bearer {CREDENTIAL}":
                    return self.tell(401, {"error": {"message": "not the vendor's own credential", "type": "invalid_request_error"}})
                return self.openai(path[4:], content)
            if path.startswith("/anthropic/v1/"):
                if self.headers.get("x-api-key") != CREDENTIAL:
                    return self.tell(401, {"type": "error", "error": {"type": "authentication_error", "message": "no"}})
                return self.anthropic(path[14:], content)
            if path.startswith("/google/"):
                if self.headers.get("x-goog-api-key") != CREDENTIAL:
                    return self.tell(401, {"error": {"code": 401, "message": "no", "status": "UNAUTHENTICATED"}})
                return self.google(path[8:], address.query, content)
            self.tell(404, {"error": {"message": f"nothing at {path}", "type": "invalid_request_error"}})
        except (KeyError, ValueError, IndexError, StopIteration) as error:
            self.tell(400, {"error": {"message": f"{type(error).__name__}: {error}", "type": "invalid_request_error"}})

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def openai(self, path, content):
        kind = self.headers.get("content-type", "")
        if path == "responses/compact":
            asked = json.loads(content)
            said = {"id": "msg_1", "type": "message", "role": "user", "status": "completed",
                    "content": [{"type": "input_text", "text": asked["input"]}]}
            usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12, "input_tokens_details": {
                "cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
            return self.tell(200, {"id": "cmp_1", "object": "response.compaction", "created_at": 1, "usage": usage, "output": [
                said, {"id": "cmp_2", "type": "compaction", "encrypted_content": digest(content)}]})
        if path == "images/generations":
            asked = json.loads(content)
            usage = {"input_tokens": 7, "output_tokens": 100, "total_tokens": 107,
                     "input_tokens_details": {"text_tokens": 7, "image_tokens": 0}}
            if asked.get("stream"):
                shared = {"b64_json": PNG, "created_at": 1, "size": "1024x1024", "quality": "low",
                          "background": "opaque", "output_format": "png"}
                return self.events([{"type": "image_generation.partial_image", "partial_image_index": 0, **shared},
                                    {"type": "image_generation.completed", "usage": usage, **shared}])
            return self.tell(200, {"created": 1, "data": [{"b64_json": PNG, "revised_prompt": asked["prompt"]}] * asked.get("n", 1),
                                   "usage": usage})
        if path in ("images/edits", "images/variations"):
            parts = form(kind, content)
            seen = {name: digest(value) if file else value.decode() for name, (file, value) in parts.items()}
            return self.tell(200, {"created": 1, "data": [{"b64_json": PNG, "revised_prompt": json.dumps(seen)}]})
        if path == "audio/speech":
            asked = json.loads(content)
            if asked.get("stream_format") == "sse":
                return self.events([{"type": "speech.audio.delta", "audio": "AAAA"}, {"type": "speech.audio.done", "usage": {
                    "input_tokens": 3, "output_tokens": 9, "total_tokens": 12}}])
            return self.pieces("audio/mpeg", [SOUND[at:at + 20_000] for at in range(0, len(SOUND), 20_000)])
        if path in ("audio/transcriptions", "audio/translations"):
            parts = form(kind, content)
            text = f"{parts['model'][1].decode()} heard {digest(parts['file'][1])}"
            way = parts.get("response_format", (None, b"json"))[1].decode()
            if parts.get("stream", (None, b""))[1] == b"true":
                return self.events([{"type": "transcript.text.delta", "delta": text},
                                    {"type": "transcript.text.done", "text": text, "usage": {
                                        "type": "tokens", "input_tokens": 4, "output_tokens": 2, "total_tokens": 6}}])
            if way == "text":
                return self.tell(200, f"{text}\n".encode(), "text/plain; charset=utf-8")
            if way == "srt":
                return self.tell(200, f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n".encode(), "text/plain; charset=utf-8")
            if way == "verbose_json":
                return self.tell(200, {"text": text, "language": "english", "duration": 1.0, "segments": [],
                                       "usage": {"type": "duration", "seconds": 1}})
            return self.tell(200, {"text": text, "usage": {"type": "tokens", "input_tokens": 4, "output_tokens": 2,
                                                           "total_tokens": 6}})
        if path == "moderations":
            asked = json.loads(content)
            return self.tell(200, {"id": "modr-1", "model": asked["model"], "results": [
                {"flagged": "bad" in text, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
                for text in ([asked["input"]] if isinstance(asked["input"], str) else asked["input"])]})
        family, *rest = path.split("/")
        if family == "files":
            return self.openai_files(rest, content)
        if family == "uploads":
            return self.openai_uploads(rest, content)
        if family == "batches":
            return self.openai_batches(rest, content)
        return self.tell(404, {"error": {"message": f"nothing at {path}", "type": "invalid_request_error"}})

    def openai_files(self, rest, content):
        shown = lambda file: {name: value for name, value in file.items() if name != "content"}
        files = kept.setdefault("openai", {})
        if not rest and self.command == "POST":
            parts = form(self.headers["content-type"], content)
            name, data = parts["file"]
            file = {"id": f"file-{next(numbers)}", "object": "file", "bytes": len(data), "created_at": 1, "filename": name,
                    "purpose": parts["purpose"][1].decode(), "status": "processed", "content": data}
            files[file["id"]] = file
            return self.tell(200, shown(file))
        if not rest:
            return self.tell(200, {"object": "list", "data": [shown(file) for file in files.values()], "has_more": False})
        if rest[0] not in files:
            return self.tell(404, {"error": {"message": "No such File object", "type": "invalid_request_error", "param": "id", "code": None}})
        if rest[1:] == ["content"]:
            return self.tell(200, files[rest[0]]["content"], "application/octet-stream")
        if self.command == "DELETE":
            files.pop(rest[0])
            return self.tell(200, {"id": rest[0], "object": "file", "deleted": True})
        return self.tell(200, shown(files[rest[0]]))

    def openai_uploads(self, rest, content):
        uploads = kept.setdefault("parts", {})
        if not rest:
            upload = {"object": "upload", "status": "pending", "created_at": 1, "expires_at": 2, **json.loads(content)}
            upload["id"] = f"upload_{next(numbers)}"
            uploads[upload["id"]] = (upload, {})
            return self.tell(200, upload)
        upload, parts = uploads[rest[0]]
        if rest[1:] == ["parts"]:
            part = f"part_{next(numbers)}"
            parts[part] = form(self.headers["content-type"], content)["data"][1]
            return self.tell(200, {"id": part, "object": "upload.part", "created_at": 1, "upload_id": rest[0]})
        if rest[1:] == ["cancel"]:
            upload["status"] = "cancelled"
            return self.tell(200, upload)
        whole = b"".join(parts[part] for part in json.loads(content)["part_ids"])
        file = {"id": f"file-{next(numbers)}", "object": "file", "bytes": len(whole), "created_at": 1,
                "filename": upload["filename"], "purpose": upload["purpose"], "status": "processed", "content": whole}
        kept.setdefault("openai", {})[file["id"]] = file
        upload.update(status="completed", file={name: value for name, value in file.items() if name != "content"})
        return self.tell(200, upload)

    def openai_batches(self, rest, content):
        batches = kept.setdefault("batches", {})
        if not rest and self.command == "POST":
            asked = json.loads(content)
            batch = {"id": f"batch_{next(numbers)}", "object": "batch", "endpoint": asked["endpoint"], "status": "in_progress",
                     "input_file_id": asked["input_file_id"], "completion_window": asked["completion_window"], "created_at": 1}
            batches[batch["id"]] = batch
            return self.tell(200, batch)
        if not rest:
            return self.tell(200, {"object": "list", "data": list(batches.values()), "has_more": False})
        batch = batches[rest[0]]
        batch["status"] = "cancelling" if rest[1:] == ["cancel"] else "completed"
        return self.tell(200, batch)

    def anthropic(self, path, content):
        if path.split("/")[0] == "files":
            return self.anthropic_files(path.split("/")[1:], content)
        batches = kept.setdefault("messages", {})
        place, *rest = path.removeprefix("messages/").split("/")
        if place != "batches":
            return self.tell(404, {"type": "error", "error": {"type": "not_found_error", "message": path}})
        if not rest and self.command == "POST":
            requests = json.loads(content)["requests"]
            batch = {"id": f"msgbatch_{next(numbers)}", "type": "message_batch", "processing_status": "in_progress",
                     "request_counts": {"processing": len(requests), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
                     "ended_at": None, "created_at": "2026-11-26T00:00:00Z", "expires_at": "2026-11-27T00:00:00Z",
                     "archived_at": None, "cancel_initiated_at": None, "results_url": None}
            batches[batch["id"]] = (batch, requests)
            return self.tell(200, batch)
        if not rest:
            return self.tell(200, {"data": [batch for batch, _ in batches.values()], "has_more": False, "first_id": None,
                                   "last_id": None})
        batch, requests = batches[rest[0]]
        if rest[1:] == ["results"]:
            lines = [{"custom_id": one["custom_id"], "result": {"type": "succeeded", "message": {
                "id": "msg_1", "type": "message", "role": "assistant", "model": one["params"]["model"],
                "content": [{"type": "text", "text": "done"}], "stop_reason": "end_turn", "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1}}}} for one in requests]
            return self.tell(200, "".join(json.dumps(line) + "\n" for line in lines).encode(), "application/x-jsonl")
        if rest[1:] == ["cancel"]:
            batch["processing_status"] = "canceling"
        elif self.command == "DELETE":
            batches.pop(rest[0])
            return self.tell(200, {"id": rest[0], "type": "message_batch_deleted"})
        else:
            # An address of the vendor's own, which no client of a gateway may follow.
            batch.update(processing_status="ended", ended_at="2026-11-26T01:00:00Z",
                         results_url=f"https://vendor.invalid/v1/messages/batches/{rest[0]}/results")
        return self.tell(200, batch)

    def anthropic_files(self, rest, content):
        shown = lambda file: {name: value for name, value in file.items() if name != "content"}
        files = kept.setdefault("documents", {})
        if not rest and self.command == "POST":
            name, data = form(self.headers["content-type"], content)["file"]
            file = {"id": f"file_{next(numbers)}", "type": "file", "filename": name, "mime_type": "application/pdf",
                    "size_bytes": len(data), "created_at": "2026-11-26T00:00:00Z", "downloadable": True, "content": data}
            files[file["id"]] = file
            return self.tell(200, shown(file))
        if not rest:
            return self.tell(200, {"data": [shown(file) for file in files.values()], "has_more": False,
                                   "first_id": None, "last_id": None})
        if rest[1:] == ["content"]:
            return self.tell(200, files[rest[0]]["content"], "application/pdf")
        if self.command == "DELETE":
            files.pop(rest[0])
            return self.tell(200, {"id": rest[0], "type": "file_deleted"})
        return self.tell(200, shown(files[rest[0]]))

    def google(self, path, query, content):
        files, uploads = kept.setdefault("google", {}), kept.setdefault("uploads", {})
        asked = urllib.parse.parse_qs(query)
        if path == "upload/v1beta/files":
            command = self.headers["x-goog-upload-command"]
            if command == "start":
                upload = f"u{next(numbers)}"
                uploads[upload] = {"bytes": b"", "file": json.loads(content or b"{}").get("file", {}),
                                   "kind": self.headers["x-goog-upload-header-content-type"]}
                # The vendor's name, and not the address that the gateway reaches it at.
                address = f"https://vendor.invalid/google/upload/v1beta/files?upload_id={upload}&upload_protocol=resumable"
                return self.tell(200, b"", headers=[("x-goog-upload-url", address), ("x-goog-upload-status", "active"),
                                                    ("x-goog-upload-chunk-granularity", "262144")])
            upload = uploads[asked["upload_id"][0]]
            if int(self.headers["x-goog-upload-offset"]) != len(upload["bytes"]):
                return self.tell(400, {"error": {"code": 400, "message": "not the next piece", "status": "INVALID_ARGUMENT"}})
            upload["bytes"] += content
            if "finalize" not in command:
                return self.tell(200, b"", headers=[("x-goog-upload-status", "active")])
            name = f"files/f{next(numbers)}"
            files[name] = {"name": name, "displayName": upload["file"].get("displayName") or upload["file"].get("display_name", ""), "mimeType": upload["kind"],
                           "sizeBytes": str(len(upload["bytes"])), "sha256Hash": digest(upload["bytes"]), "state": "ACTIVE",
                           "uri": f"https://vendor.invalid/v1beta/{name}"}
            return self.tell(200, {"file": files[name]}, headers=[("x-goog-upload-status", "final")])
        name = path.removeprefix("v1beta/")
        if name == "files":
            return self.tell(200, {"files": list(files.values())})
        if name not in files:
            return self.tell(404, {"error": {"code": 404, "message": f"no {name}", "status": "NOT_FOUND"}})
        if self.command == "DELETE":
            files.pop(name)
            return self.tell(200, {})
        return self.tell(200, files[name])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    JOURNAL = pathlib.Path(sys.argv[2])
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
