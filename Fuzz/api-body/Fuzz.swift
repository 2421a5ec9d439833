// Feeds bytes to the reader of the local API's bodies. Beyond not trapping it must keep these promises:
//   - what is refused is a problem of the client's with something to do about it, of bounded length;
//   - what is taken changes something, and is read back from its own text as the same change;
//   - a hold's reason is one line of a bounded length.

import FoundationEssentials

enum Promise {
    static func check(_ input: UnsafeRawBufferPointer) {
        checkHold(Array(input))
        do {
            let change = try PortChange(parsing: Array(input))
            precondition(change.auth != nil || change.published != nil || change.isReset)
            guard let text = try? JSONEncoder().encode(change) else { preconditionFailure("not written") }
            precondition((try? PortChange(parsing: Array(text))) == change)
        } catch {
            precondition(error.status == 400 && error.hint != nil && error.detail.utf8.count < 1000)
        }
    }

    private static func checkHold(_ input: [UInt8]) {
        do {
            let hold = try HoldRequest(parsing: input)
            precondition(hold.duration != nil || hold.whileProcess)
            precondition(hold.reason.utf8.count <= HoldRequest.reasonLimitBytes)
            precondition(hold.reason.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control })
            guard let text = try? JSONEncoder().encode(hold) else { preconditionFailure("not written") }
            precondition((try? HoldRequest(parsing: Array(text))) == hold)
        } catch {
            precondition(error.status == 400 && error.hint != nil && error.detail.utf8.count < 1000)
        }
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    Promise.check(UnsafeRawBufferPointer(start: data, count: count))
    return 0
}
