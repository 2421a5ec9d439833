// swift-tools-version: 6.2
import PackageDescription

// The one place where the language settings of every target are decided.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .unsafeFlags(["-Xcc", "-D_GNU_SOURCE"]),
]

let package = Package(
    name: "samd",
    products: [
        .executable(name: "samd", targets: ["samd"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        // Its default traits link full Foundation and ICU: +41 MB.
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    ],
    targets: [
        // C libraries
        .systemLibrary(
            name: "CCrypt", path: "Sources/CInterop/CCrypt", pkgConfig: "libcrypt",
            providers: [.apt(["libcrypt-dev"])]),
        .systemLibrary(
            name: "CCurl", path: "Sources/CInterop/CCurl", pkgConfig: "libcurl",
            providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(
            name: "COpenSSL", path: "Sources/CInterop/COpenSSL", pkgConfig: "libcrypto",
            providers: [.apt(["libssl-dev"])]),
        .systemLibrary(
            name: "CSystemd", path: "Sources/CInterop/CSystemd", pkgConfig: "libsystemd",
            providers: [.apt(["libsystemd-dev"])]),
        .target(
            name: "CLinux", path: "Sources/CInterop/CLinux", cSettings: [.define("_GNU_SOURCE")]),
        .target(
            name: "CurlShims", dependencies: ["CCurl"], path: "Sources/CInterop/CurlShims"),

        // Features and what they stand on
        .target(
            name: "CaddyConfig", dependencies: ["CCrypt", "COpenSSL", "HTTPClient", "Supervision"],
            swiftSettings: strict),
        .target(name: "Containers", dependencies: ["ProcFS"], swiftSettings: strict),
        .target(name: "HTTPClient", dependencies: ["CCurl", "CurlShims"], swiftSettings: strict),
        .target(
            name: "IdleDetector", dependencies: ["CLinux", "Containers", "ProcFS", "Supervision", "Systemd"],
            swiftSettings: strict),
        .target(
            name: "NamespaceRelay", dependencies: ["CLinux", "Supervision"], swiftSettings: strict),
        .target(
            name: "PortWatcher", dependencies: ["Containers", "ProcFS", "Supervision"],
            swiftSettings: strict),
        .target(name: "ProcFS", swiftSettings: strict),
        .target(
            name: "SocketDiagnostics", dependencies: ["CLinux", "ProcFS"], swiftSettings: strict),
        .target(name: "Supervision", swiftSettings: strict),
        .target(
            name: "Systemd",
            dependencies: ["CSystemd", .product(name: "Logging", package: "swift-log")],
            swiftSettings: strict),

        // The daemon
        .target(
            name: "SamdCore",
            dependencies: [
                "CLinux", "CaddyConfig", "Containers", "HTTPClient", "IdleDetector", "NamespaceRelay",
                "PortWatcher",
                "ProcFS",
                "SocketDiagnostics", "Supervision", "Systemd",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "TOMLKit", package: "TOMLKit"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "samd",
            dependencies: [
                "SamdCore",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        // Benchmarks, each driven by the Python file that its folder is named after
        .target(name: "AllocationCount", path: "Benchmarks/parse/AllocationCount"),
        .executableTarget(
            name: "parse-bench", dependencies: ["AllocationCount", "ProcFS"], path: "Benchmarks/parse/Driver",
            swiftSettings: strict),
        .executableTarget(
            name: "relay-bench", dependencies: ["NamespaceRelay", "Supervision"],
            path: "Benchmarks/relay-driver", swiftSettings: strict),

        // Tests
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(
            name: "CaddyConfigTests",
            dependencies: [
                "CaddyConfig", "HTTPClient", "Supervision", "TestSupport",
            ],
            resources: [.copy("Goldens")],
            swiftSettings: strict),
        .testTarget(
            name: "HTTPClientTests", dependencies: ["HTTPClient", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "IdleDetectorTests",
            dependencies: ["Containers", "IdleDetector", "ProcFS", "Supervision", "TestSupport"],
            resources: [.copy("Fixtures")],
            swiftSettings: strict),
        .testTarget(
            name: "NamespaceRelayTests",
            dependencies: ["CLinux", "NamespaceRelay", "Supervision", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "PortWatcherTests",
            dependencies: ["Containers", "PortWatcher", "ProcFS", "Supervision", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "ProcFSTests", dependencies: ["ProcFS", "TestSupport"], resources: [.copy("Fixtures")],
            swiftSettings: strict),
        .testTarget(
            name: "SamdCoreTests",
            dependencies: [
                "CaddyConfig", "Containers", "HTTPClient", "IdleDetector", "PortWatcher", "ProcFS",
                "SamdCore",
                "Supervision", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Subprocess", package: "swift-subprocess"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "SocketDiagnosticsTests",
            dependencies: ["CLinux", "ProcFS", "SocketDiagnostics", "TestSupport"],
            swiftSettings: strict),
        .target(
            name: "IdleSimulation", dependencies: ["IdleDetector"], path: "Tests/SimulationTests/Simulation",
            swiftSettings: strict),
        .executableTarget(
            name: "idle-simulation", dependencies: ["IdleSimulation"], path: "Tests/SimulationTests/Driver",
            swiftSettings: strict),
        .testTarget(
            name: "SimulationTests", dependencies: ["IdleDetector", "IdleSimulation"],
            path: "Tests/SimulationTests/Checks", swiftSettings: strict),
        .testTarget(
            name: "SupervisionTests", dependencies: ["Supervision"], swiftSettings: strict),
        .testTarget(
            name: "SystemdTests", dependencies: ["Systemd"], swiftSettings: strict),
    ]
)
