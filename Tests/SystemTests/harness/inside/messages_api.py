"""A Messages API that answers as it was told beforehand; runs inside a machine: messages_api.py FOLDER ADDRESS PORT.

A prompt that has `act NAME` in it is answered by the replies in FOLDER/NAME.json, one for each step of the turn. A prompt
without, a step beyond the last, and a request without tools get a short text at once. A reply is an object:

    {"text": "…"}                          a text
    {"tool": "Bash", "input": {…}}         the use of a tool
    {"status": 529}                        a refusal

Each may have "gate": NAME: then it is held back until FOLDER/NAME.open exists. Meanwhile a text streams a word every
`every` seconds, or only keeps the connection alive when `every` is not given; a refusal answers each request at once.
What was asked is appended to FOLDER/requests.jsonl.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
# The longest that a closed gate holds a reply back.
GATE_LIMIT_SECONDS = 110.0
GATE_INTERVAL_SECONDS = 0.02
PING_INTERVAL_SECONDS = 5.0
ACT = re.compile(r"\bact ([a-z0-9-]+)")
# Texts that Claude Code itself puts among the user's.
NOT_THE_USERS = ("<system-reminder>", "<task-notification>", "<local-command")
USAGE = {
    "input_tokens": 10,
    "output_tokens": 1,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
}

_numbers = itertools.count(1)
_log_lock = threading.Lock()


def log(**entry: object) -> None:
    """Appends to the list of what was asked."""
    with _log_lock, open(FOLDER / "requests.jsonl", "a") as file:
        file.write(json.dumps({"at": time.monotonic(), **entry}) + "\n")


def texts_of(message: dict[str, Any]) -> list[str]:
    """What the user wrote in a message."""
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    texts = [block.get("text", "") for block in blocks if block.get("type") == "text"]
    return [text for text in texts if not any(mark in text for mark in NOT_THE_USERS)]


def brings_results(message: dict[str, Any]) -> bool:
    """Whether a message answers the use of tools, to which Claude Code may add a remark."""
    content = message.get("content")
    return isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)


def reply_to(request: dict[str, Any]) -> dict[str, Any]:
    """The reply that the newest `act` in the conversation has for the step that it is at."""
    name, step = "", 0
    for message in request.get("messages", []):
        if message.get("role") == "assistant":
            step += 1
        elif message.get("role") == "user":
            texts = texts_of(message)
            if found := ACT.findall(" ".join(texts)):
                name, step = found[-1], 0
            elif any(text.strip() for text in texts) and not brings_results(message):
                # The next prompt of the same conversation has no act of its own.
                name = ""
    if not name or not request.get("tools"):
        return {"text": "Well."}
    replies = json.loads((FOLDER / f"{name}.json").read_text())
    return dict(replies[step]) if step < len(replies) else {"text": f"Done with {name}."}


def is_held(reply: dict[str, Any]) -> bool:
    """Whether the reply's gate is still closed."""
    return "gate" in reply and not (FOLDER / f"{reply['gate']}.open").exists()


def ticks(reply: dict[str, Any]) -> Iterator[None]:
    """Comes back from time to time for as long as the reply is held."""
    end = time.monotonic() + GATE_LIMIT_SECONDS
    while is_held(reply) and time.monotonic() < end:
        yield
        time.sleep(GATE_INTERVAL_SECONDS)


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """The requests are logged elsewhere."""

    def do_HEAD(self) -> None:
        """Clients try whether the address answers."""
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """No other service of the API is there."""
        self._refuse(404, "not_found_error")

    def do_POST(self) -> None:
        """A message, or the count of its tokens."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        if path == "/v1/messages/count_tokens":
            self._answer(200, {"input_tokens": 1000})
        elif path == "/v1/messages":
            self._message(json.loads(body))
        else:
            self._refuse(404, "not_found_error")

    def _message(self, request: dict[str, Any]) -> None:
        reply = reply_to(request)
        tools = [tool.get("name") for tool in request.get("tools", [])]
        log(reply=reply, model=request.get("model"), tools=len(tools), messages=len(request.get("messages", [])))
        if "status" in reply:
            if is_held(reply) or "gate" not in reply:
                self._refuse(reply["status"], "overloaded_error")
                return
            reply = {"text": "Now it is possible."}
        if request.get("stream"):
            self._stream(request, reply)
        else:
            for _ in ticks(reply):
                pass
            block = self._block(reply)
            self._answer(200, {**self._head(request), "content": [block], "stop_reason": self._end(block)})

    def _stream(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        block = self._block(reply)
        try:
            self._event("message_start", message=self._head(request))
            empty = {**block, "input": {}} if block["type"] == "tool_use" else {**block, "text": ""}
            self._event("content_block_start", index=0, content_block=empty)
            self._hold_back(reply)
            if block["type"] == "tool_use":
                delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            else:
                delta = {"type": "text_delta", "text": block["text"]}
            self._event("content_block_delta", index=0, delta=delta)
            self._event("content_block_stop", index=0)
            end = {"stop_reason": self._end(block), "stop_sequence": None}
            self._event("message_delta", delta=end, usage={"output_tokens": 20})
            self._event("message_stop")
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            self.close_connection = True

    def _hold_back(self, reply: dict[str, Any]) -> None:
        """Waits for the gate, with a word now and then for those replies that have some."""
        pace = reply.get("every", PING_INTERVAL_SECONDS)
        due = time.monotonic() + pace
        for _ in ticks(reply):
            if time.monotonic() < due:
                continue
            due += pace
            if "every" in reply and "text" in reply:
                self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": "word "})
            else:
                self._event("ping")

    def _event(self, kind: str, **fields: object) -> None:
        data = f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    @staticmethod
    def _head(request: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg_{next(_numbers):024}",
            "type": "message",
            "role": "assistant",
            "model": request.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": USAGE,
        }

    @staticmethod
    def _block(reply: dict[str, Any]) -> dict[str, Any]:
        if "tool" in reply:
            identity = f"toolu_{next(_numbers):024}"
            return {"type": "tool_use", "id": identity, "name": reply["tool"], "input": reply["input"]}
        return {"type": "text", "text": reply["text"]}

    @staticmethod
    def _end(block: dict[str, Any]) -> str:
        return "tool_use" if block["type"] == "tool_use" else "end_turn"

    def _refuse(self, status: int, kind: str) -> None:
        self._answer(status, {"type": "error", "error": {"type": kind, "message": f"as told: {status}"}})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Handler).serve_forever()
