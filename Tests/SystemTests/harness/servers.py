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

# Listens on every ADDRESS:PORT that it is given and answers with the name it is given first, and who listened.
_GREETER = """
import http.server, socket, sys, threading
name, *endpoints = sys.argv[1:]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{name} {self.server.endpoint}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64
    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
class Server6(Server):
    address_family = socket.AF_INET6
for endpoint in endpoints:
    address, _, port = endpoint.rpartition(":")
    server = (Server6 if ":" in address else Server)((address, int(port)), Handler)
    server.endpoint = endpoint
    threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Event().wait()
"""

_SCRIPTS = {
    "greeter": _GREETER,
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


def in_container(kind: str, *arguments: str) -> list[str]:
    """The command that runs a script where no file of the machine can be put."""
    return ["python3", "-c", _SCRIPTS[kind], *arguments]
