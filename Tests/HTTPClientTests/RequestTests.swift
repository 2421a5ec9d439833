import Glibc
import HTTPClient
import Synchronization
import Testing

@testable import TestSupport

@Suite("Requests and responses", .timeLimit(.minutes(1)))
struct RequestTests {
    @Test("Requests one after the other use one connection")
    func reuse() async throws {
        let server = try TestServer { connection in
            while true {
                let request = try connection.readRequest()
                try connection.respond(body: Array(request.head.split(separator: " ")[1].utf8))
            }
        }
        defer { server.stop() }
        let client = HTTPClient()
        for number in 0..<20 {
            let response = try await client.send(HTTPRequest(method: "GET", url: "\(server.url)/\(number)"))
            #expect(response.status == 200)
            #expect(response.body == Array("/\(number)".utf8))
        }
        #expect(server.acceptedCount == 1)
    }

    @Test("A connection that the server closed meanwhile is replaced")
    func closedMeanwhile() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.respond()
        }
        defer { server.stop() }
        let client = HTTPClient()
        for _ in 0..<5 {
            let request = HTTPRequest(method: "PUT", url: server.url, body: .bytes(Array("again".utf8)))
            #expect(try await client.send(request).status == 200)
        }
        #expect(server.acceptedCount == 5)
    }

    @Test("freshConnection opens one")
    func freshConnection() async throws {
        let server = try TestServer { connection in
            while true {
                _ = try connection.readRequest()
                try connection.respond()
            }
        }
        defer { server.stop() }
        let client = HTTPClient()
        var request = HTTPRequest(method: "GET", url: server.url)
        _ = try await client.send(request)
        request.options.freshConnection = true
        _ = try await client.send(request)
        #expect(server.acceptedCount == 2)
    }

    @Test("Speaks over a unix socket, with an empty Host")
    func unixSocket() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let path = directory.path + "/s"
        let server = try TestServer(.unix(path: path)) { connection in
            while true {
                try connection.respond(body: Array(try connection.readRequest().head.utf8))
            }
        }
        defer { server.stop() }
        let request = HTTPRequest(
            method: "GET", url: "http://caddy/config/", headers: [("Host", ""), ("Accept", nil)],
            unixSocketPath: path)
        let response = try await HTTPClient().send(request)
        let lines = String(decoding: response.body, as: UTF8.self).split(separator: "\r\n")
        #expect(lines == ["GET /config/ HTTP/1.1", "Host:"])
    }

    @Test(
        "Methods and bodies are framed as servers expect",
        arguments: [
            ("GET", HTTPRequestBody.none, ["GET / HTTP/1.1"], ["content-length", "transfer-encoding"]),
            ("DELETE", .none, ["DELETE / HTTP/1.1"], ["content-length", "transfer-encoding"]),
            ("PUT", .none, ["PUT / HTTP/1.1", "Content-Length: 0"], ["transfer-encoding"]),
            ("POST", .bytes([1, 2, 3]), ["POST / HTTP/1.1", "Content-Length: 3"], ["transfer-encoding"]),
            ("PATCH", .bytes([]), ["PATCH / HTTP/1.1", "Content-Length: 0"], ["transfer-encoding"]),
        ])
    func framing(method: String, body: HTTPRequestBody, present: [String], absent: [String]) async throws {
        let server = try TestServer { connection in
            try connection.respond(body: Array(try connection.readRequest().head.utf8))
        }
        defer { server.stop() }
        let response = try await HTTPClient().send(HTTPRequest(method: method, url: server.url, body: body))
        let head = String(decoding: response.body, as: UTF8.self)
        for line in present { #expect(head.contains("\(line)\r\n")) }
        for name in absent + ["expect"] { #expect(!head.lowercased().contains("\(name):")) }
    }

    @Test("HEAD ends with the headers, whatever length they announce")
    func head() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
            connection.waitForEnd()
        }
        defer { server.stop() }
        let response = try await HTTPClient().send(HTTPRequest(method: "HEAD", url: server.url))
        #expect(response.headers["content-length"] == "99999999")
        #expect(response.body.isEmpty)
    }

    @Test("Interim responses are skipped; names of fields have no case; trailers are kept")
    func heads() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write(
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
                    + "HTTP/1.1 404 Not Found\r\neTag:  \"a b\" \r\nSet-Cookie: a\r\nset-cookie: b\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\nX-After: later\r\n\r\n")
            connection.waitForEnd()
        }
        defer { server.stop() }
        let response = try await HTTPClient().send(HTTPRequest(method: "GET", url: server.url))
        #expect(response.status == 404)
        #expect(response.headers["ETAG"] == "\"a b\"")
        #expect(response.headers["Link"] == nil)
        #expect(response.headers.fields.filter { $0.name.lowercased() == "set-cookie" }.count == 2)
        #expect(response.body == Array("no".utf8))
        #expect(response.trailers["x-after"] == "later")
    }

    @Test("A redirect is an answer, not an instruction")
    func redirect() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.respond(302, headers: "Location: http://127.0.0.1:1/\r\n")
        }
        defer { server.stop() }
        #expect(try await HTTPClient().send(HTTPRequest(method: "GET", url: server.url)).status == 302)
    }

    @Test(
        "What could smuggle something is refused",
        arguments: [
            HTTPRequest(method: "GET", url: "file:///etc/passwd"),
            HTTPRequest(method: "GET", url: "http://x/\r\nA: b"),
            HTTPRequest(method: "GET X", url: "http://x/"),
            HTTPRequest(method: "GET", url: "http://x/", headers: [("A", "b\r\nC: d")]),
            HTTPRequest(method: "GET", url: "http://x/", headers: [("A:", "b")]),
            HTTPRequest(method: "GET", url: "http://x/", unixSocketPath: String(repeating: "x", count: 108)),
        ])
    func refused(request: HTTPRequest) async throws {
        let error = try await #require(throws: HTTPClientError.self) { try await HTTPClient().send(request) }
        #expect(error.kind == .invalidRequest)
    }

    @Test("The operation names no secret")
    func operation() {
        let request = HTTPRequest(
            method: "PUT", url: "https://user:secret@host/path/x?token=secret#f", unixSocketPath: "/run/s")
        #expect(request.operation == "PUT https://host/path/x via unix:/run/s")
    }
}
