import Testing

@testable import ProcFS

@Suite struct IPAddressTests {
    @Test(
        "The text is canonical (RFC 5952) and is read back as the same address",
        arguments: [
            ("0.0.0.0", "0.0.0.0"), ("127.0.0.1", "127.0.0.1"), ("255.255.255.255", "255.255.255.255"),
            ("::", "::"), ("::1", "::1"), ("2001:DB8::1", "2001:db8::1"), ("fe80:0::0:1", "fe80::1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("2001:0:0:1:0:0:1:1", "2001::1:0:0:1:1"), ("1::", "1::"), ("0:1:1:1:1:1:1:1", "0:1:1:1:1:1:1:1"),
            ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"), ("1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"),
            ("::ffff:7f00:1", "::ffff:127.0.0.1"), ("::ffff:0.0.0.0", "::ffff:0.0.0.0"),
            ("::1.2.3.4", "::102:304"),
        ])
    func canonicalText(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(IPAddress(canonical) == address)
    }

    @Test(
        "What is not exactly one address is none",
        arguments: [
            "", " 127.0.0.1", "127.0.0.1 ", "127.0.0.1:80", "127.1", "0x7f.0.0.1", "256.0.0.1", "localhost",
            "[::1]", "::1%lo", "1:2:3", ":::", "1::2::3", "127.0.0.1\0",
        ])
    func notAnAddress(text: String) { #expect(IPAddress(text) == nil) }

    @Test(
        "Loopback and unspecified addresses are known in each of their forms",
        arguments: [
            ("127.0.0.1", true, false), ("127.255.0.9", true, false), ("128.0.0.1", false, false),
            ("::1", true, false), ("::ffff:127.0.0.1", true, false), ("0.0.0.0", false, true),
            ("::", false, true), ("::ffff:0.0.0.0", false, true), ("2001:db8::1", false, false),
            ("::127.0.0.1", false, false),
        ])
    func kinds(text: String, isLoopback: Bool, isUnspecified: Bool) throws {
        let address = try #require(IPAddress(text))
        #expect(address.isLoopback == isLoopback)
        #expect(address.isUnspecified == isUnspecified)
    }

    @Test("Addresses sort by number, IPv4 first")
    func order() throws {
        let sorted = ["9.0.0.1", "10.0.0.1", "::", "::1", "1::"]
        let addresses = try sorted.map { try #require(IPAddress($0)) }
        #expect(addresses.shuffled().sorted() == addresses)
    }

    @Test("An address is encoded as its text")
    func codable() throws {
        let address = try #require(IPAddress("2001:db8::1"))
        #expect(try TextCoder.encode(address) == "2001:db8::1")
        #expect(try TextCoder.decode("2001:0db8::1") == address)
        #expect(throws: DecodingError.self) { try TextCoder.decode("here") }
    }
}
