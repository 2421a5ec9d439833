@testable import ProcFS

/// Encodes and decodes one string: enough to see what `IPAddress` writes, without a JSON library.
enum TextCoder {
    final class Box { var text = "" }

    static func encode(_ address: IPAddress) throws -> String {
        let box = Box()
        try address.encode(to: Coder(box: box))
        return box.text
    }

    static func decode(_ text: String) throws -> IPAddress {
        let box = Box()
        box.text = text
        return try IPAddress(from: Coder(box: box))
    }

    private struct Unsupported: Error {}

    private struct Coder: Encoder, Decoder, SingleValueEncodingContainer, SingleValueDecodingContainer {
        let box: Box
        var codingPath: [any CodingKey] { [] }
        var userInfo: [CodingUserInfoKey: Any] { [:] }

        func singleValueContainer() -> any SingleValueEncodingContainer { self }
        func singleValueContainer() throws -> any SingleValueDecodingContainer { self }
        func encode(_ value: String) throws { box.text = value }
        func decode(_ type: String.Type) throws -> String { box.text }

        func encodeNil() throws { throw Unsupported() }
        func encode<T: Encodable>(_ value: T) throws { throw Unsupported() }
        func decodeNil() -> Bool { false }
        func decode<T: Decodable>(_ type: T.Type) throws -> T { throw Unsupported() }
        func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
            fatalError("an address is one value")
        }
        func unkeyedContainer() -> any UnkeyedEncodingContainer { fatalError("an address is one value") }
        func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
            throw Unsupported()
        }
        func unkeyedContainer() throws -> any UnkeyedDecodingContainer { throw Unsupported() }
    }
}
