"""Small servers that run in a machine, beside Python's own http.server."""

from __future__ import annotations

from harness.machine import Machine

# Answers with the request's headers, one per line.
_HEADERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "".join(f"{name}: {value}\\n" for name, value in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

# Accepts connections and closes them without a word.
_MUTE = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""

# Agrees to any upgrade and then sends back every byte, as a websocket's echo does underneath its frames.
_UPGRADE_ECHO = """
import socket, sys, threading
def serve(connection):
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += connection.recv(4096)
    answer = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "", ""]
    connection.sendall("\\r\\n".join(answer).encode())
    while data := connection.recv(4096):
        connection.sendall(data)
    connection.close()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
"""

# Opens an upgraded connection through Caddy, then counts: sends each number and prints what comes back.
_UPGRADE_CLIENT = """
import base64, socket, sys, time
host, password = sys.argv[1], open("/run/watch-password").read().strip()
token = base64.b64encode(f"dev:{password}".encode()).decode()
connection = socket.create_connection(("127.0.0.1", 8080))
request = [
    "GET / HTTP/1.1",
    f"Host: {host}",
    f"Authorization: Basic {token}",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
    "",
    "",
]
connection.sendall("\\r\\n".join(request).encode())
stream = connection.makefile("rwb")
print(stream.readline().decode().split()[1], flush=True)
while stream.readline().strip():
    pass
count = 0
while True:
    stream.write(f"{count}\\n".encode())
    stream.flush()
    answer = stream.readline().decode().strip()
    if answer != str(count):
        print("closed", flush=True)
        break
    print(count, flush=True)
    count += 1
    time.sleep(0.02)
"""

_SCRIPTS = {
    "headers": _HEADERS,
    "mute": _MUTE,
    "upgrade-echo": _UPGRADE_ECHO,
    "upgrade-client": _UPGRADE_CLIENT,
}


def command(machine: Machine, kind: str, argument: str) -> str:
    """Puts a script into the machine and returns the command that runs it."""
    place = f"/tmp/{kind}.py"
    machine.put_file(place, _SCRIPTS[kind])
    return f"python3 {place} {argument}"
