import CaddyConfig
import IdleDetector
import Testing

@testable import SamdCore

@Suite struct ConfigurationTests {
    private func problems(_ text: String) -> [String] {
        do {
            _ = try Configuration.parse(text, file: "samd.toml")
            return []
        } catch {
            return error.description.split(separator: "\n").map(String.init)
        }
    }

    @Test func `an empty file gives the defaults`() throws {
        #expect(try Configuration.parse("", file: "samd.toml") == Configuration())
    }

    @Test func `every section and key is read`() throws {
        let text = """
            [daemon]
            state_dir = "/s"
            runtime_dir = "/r"
            socket = "/r/s.sock"
            stall_limit = "5s"
            log_level = "debug"
            [workspace]
            owners = ["dev", 1001]
            containers = false
            folders = ["/w"]
            [ports]
            min = 2000
            ignore = [8000]
            deny = []
            allow_ephemeral = [40000]
            limit = 7
            allow_public = false
            events = "polling"
            tracefs = "/t"
            tracefs_instance = "other"
            [routes]
            domain = "vm.example.com"
            vm = "vm1"
            pattern = "{port}.{vm}.{domain}"
            user = "ann"
            aliases = { ui = 3001 }
            [caddy]
            admin = "unix//x.sock"
            listen = ["[::1]:81", ":82"]
            tls = "files"
            certificate = "/c.pem"
            key = "/k.pem"
            behind_proxy = true
            trusted_proxies = ["10.0.0.0/8"]
            access_log = false
            \(Self.idleSection)
            [notify]
            webhook = "https://hooks.example.com/s"
            command = ["/bin/tell", "-x"]
            events = ["warned"]
            """
        var expected = Configuration()
        expected.daemon = .init(
            stateDirectory: "/s", runtimeDirectory: "/r", socket: "/r/s.sock", stallLimit: .seconds(5),
            logLevel: .debug)
        expected.workspace = .init(owners: [.name("dev"), .uid(1001)], containers: false, folders: ["/w"])
        expected.ports = .init(
            min: 2000, ignore: [8000], deny: [], allowEphemeral: [40000], limit: 7, allowPublic: false,
            events: .polling,
            tracefs: "/t",
            tracefsInstance: "other")
        expected.routes = .init(
            domain: "vm.example.com", vm: "vm1", pattern: "{port}.{vm}.{domain}", aliases: ["ui": 3001],
            user: "ann")
        expected.caddy = .init(
            admin: .unix(path: "/x.sock"),
            listen: [ListenAddress(host: "::1", port: 81), ListenAddress(host: "", port: 82)],
            tls: .files, certificate: "/c.pem", key: "/k.pem", behindProxy: true,
            trustedProxies: ["10.0.0.0/8"], accessLog: false)
        expected.idle = Self.expectedIdle
        expected.notify = .init(
            webhook: "https://hooks.example.com/s", command: ["/bin/tell", "-x"], events: [.warned])
        #expect(try Configuration.parse(text, file: "samd.toml") == expected)
        let keys = text.split(separator: "\n").filter { $0.contains(" = ") }
        #expect(
            keys.count == ConfigurationSchema.settings.count,
            "a setting was added that this test does not read")
    }

    private static let idleSection = """
        [idle]
        enabled = false
        boot_grace = "1m"
        threshold = "2m"
        waiting_threshold = "3m"
        warn_before = "30s"
        busy_cap = "4h"
        silent_cap = "5m"
        wake_up_horizon = "6m"
        wake_up_grace = "7m"
        wake_up_cap = "8h"
        progress_window = "9m"
        hold_cap = "10m"
        operation_cap = "11m"
        interruption_grant = "12m"
        interruption_limit = 13
        weak_limit = "14m"
        steady_pause = "15m"
        steady_limit = "16m"
        files_cap = "17m"
        unknown_alarm = "18m"
        unattended_alarm = "19h"
        blind_grace = "20m"
        blind_alarm = "21m"
        alarm_repeat = "22m"
        files_exclude = ["*.o"]
        ignore_processes = ["agetty"]
        agents = ["robot"]
        progress_cpu = 23
        progress_io = 24
        """

    private static var expectedIdle: Configuration.Idle {
        func minutes(_ count: Int) -> Duration { .seconds(count * 60) }
        var policy = IdleSettings()
        policy.threshold = minutes(2)
        policy.waitingThreshold = minutes(3)
        policy.warnBefore = .seconds(30)
        policy.busyCap = minutes(4 * 60)
        policy.silentCap = minutes(5)
        policy.wakeUpHorizon = minutes(6)
        policy.wakeUpGrace = minutes(7)
        policy.wakeUpCap = minutes(8 * 60)
        policy.progressWindow = minutes(9)
        policy.holdCap = minutes(10)
        policy.operationCap = minutes(11)
        policy.interruptionGrant = minutes(12)
        policy.interruptionLimit = 13
        policy.weakLimit = minutes(14)
        policy.steadyPause = minutes(15)
        policy.steadyLimit = minutes(16)
        policy.filesCap = minutes(17)
        policy.unknownAlarm = minutes(18)
        policy.unattendedAlarm = minutes(19 * 60)
        policy.blindGrace = minutes(20)
        policy.blindAlarm = minutes(21)
        policy.alarmRepeat = minutes(22)
        return Configuration.Idle(
            enabled: false, policy: policy, bootGrace: minutes(1), filesExclude: ["*.o"],
            ignoreProcesses: ["agetty"], agents: ["robot"], progressCPU: 23, progressIO: 24)
    }

    @Test func `durations of idle detection that contradict each other are refused with both`() {
        #expect(
            problems("[idle]\nthreshold = \"5m\"\n") == [
                "samd.toml:2: idle.threshold: is 5m, which is not longer than idle.warn_before (5m); "
                    + "write a longer idle.threshold, or a shorter idle.warn_before"
            ])
        let found = problems(
            """
            [idle]
            waiting_threshold = "29m"
            blind_alarm = "1m"
            steady_limit = "5m"
            busy_cap = "1h"
            """)
        #expect(
            found.map { $0.prefix { $0 != "," } } == [
                "samd.toml:2: idle.waiting_threshold: is 29m", "samd.toml:3: idle.blind_alarm: is 1m",
                "samd.toml:4: idle.steady_limit: is 5m", "samd.toml:5: idle.busy_cap: is 1h",
            ])
        #expect(problems("[idle]\nwaiting_threshold = \"30m\"\nblind_alarm = \"2m\"\n").isEmpty)
    }

    @Test func `settings of the policy become texts and are read back, a mistyped one is named`() throws {
        let policy = Self.expectedIdle.policy
        let texts = IdleSettingTexts.texts(of: policy).map { (name: $0.key, value: $0.value) }
        #expect(texts.count == Mirror(reflecting: policy).children.count, "a field has no setting")
        #expect(try IdleSettingTexts.apply(texts, to: IdleSettings(), file: "t") == policy)
        #expect(
            try IdleSettingTexts.apply([("idle.busy_cap", "3h")], to: IdleSettings(), file: "t").busyCap
                == .seconds(3 * 3600))
        #expect {
            _ = try IdleSettingTexts.apply([("buzy_cap", "3h")], to: IdleSettings(), file: "t")
        } throws: {
            "\($0)".contains("write idle.busy_cap, if that was meant")
        }
        #expect {
            _ = try IdleSettingTexts.apply([("threshold", "soon")], to: IdleSettings(), file: "t")
        } throws: {
            "\($0)".contains("idle.threshold: does not take soon; write a duration from 1m")
        }
    }

    @Test func `a private key is not given to an endpoint that everybody can open`() throws {
        let text = "[caddy]\nadmin = \"127.0.0.1:2020\"\n"
        #expect(
            try Configuration.parse(text, file: "t").caddy.admin == .tcp(host: "127.0.0.1", port: 2020))
        let found = problems(text + "tls = \"files\"\ncertificate = \"/c\"\nkey = \"/k\"\n")
        #expect(found.count == 1 && found[0].hasPrefix("samd.toml:2: caddy.admin: is a port that every user"))
    }

    @Test func `TLS by files needs both of them, and they need TLS by files`() {
        #expect(
            problems("[caddy]\ntls = \"files\"\ncertificate = \"/c\"\n")[0].contains("caddy.key is not set"))
        #expect(
            problems("[caddy]\nkey = \"/k\"\n")[0].hasPrefix(
                "samd.toml:2: caddy.key: is set, and caddy.tls is"))
        #expect(problems("[routes]\naliases = { 3000 = 1 }\n")[0].contains("begins with a letter"))
    }

    @Test func `an unknown key is refused with its line and what was probably meant`() {
        #expect(
            problems("[routes]\n\ndomian = \"x.y\"\n") == [
                "samd.toml:3: routes.domian: is no setting of samd; write routes.domain, if that was meant"
            ])
        #expect(
            problems("[ports]\nverbose = true\n")[0].hasPrefix(
                "samd.toml:2: ports.verbose: is no setting of samd; write one of the keys of [ports]: min, ignore"
            ))
        #expect(
            problems("[backups]\nx = 1\n")[0].contains(
                "samd.toml:2: backups.x: is no setting of samd; write keys under one of [daemon], [workspace]"
            ))
        #expect(
            problems("ports = 3\n")[0].contains(
                "samd.toml:1: ports: is a section and does not take the number 3"))
    }

    @Test(arguments: [
        (
            "[ports]\nmin = \"high\"",
            "samd.toml:2: ports.min: does not take the string \"high\"; write a port number from 1 to 65535"
        ),
        (
            "[ports]\nmin = 0",
            "samd.toml:2: ports.min: does not take the number 0; write a port number from 1 to 65535"
        ),
        (
            "[ports]\nlimit = 1.5",
            "samd.toml:2: ports.limit: does not take the number 1.5; write a number from 1 to 1000"
        ),
        (
            "[ports]\nevents = \"sometimes\"",
            "samd.toml:2: ports.events: does not take the string \"sometimes\"; write one of \"auto\", \"polling\""
        ),
        (
            "[caddy]\nbehind_proxy = 1",
            "samd.toml:2: caddy.behind_proxy: does not take the number 1; write true or false"
        ),
        (
            "# a comment\n[daemon]\nstall_limit = \"20\"",
            "samd.toml:3: daemon.stall_limit: does not take the string \"20\"; write a duration from 3s to 10m with its unit (ms, s, m, h, d), for example \"15m\""
        ),
        (
            "[daemon]\nstate_dir = \"relative\"",
            "samd.toml:2: daemon.state_dir: does not take the string \"relative\"; write an absolute path, for example \"/var/lib/samd\""
        ),
    ])
    func `a wrong type or value is refused with the accepted form`(text: String, message: String) {
        #expect(problems(text) == [message])
    }

    @Test func `clear text is refused where others could read the password`() throws {
        let found = problems("[caddy]\nlisten = [\"127.0.0.1:8080\", \"0.0.0.0:8080\"]\n")
        #expect(found.count == 1)
        #expect(found[0].hasPrefix("samd.toml:2: caddy.listen: 0.0.0.0:8080 is reachable from outside"))
        #expect(found[0].contains("behind_proxy = true"))
        #expect(problems("[caddy]\nlisten = [\"0.0.0.0:8080\"]\nbehind_proxy = true\n").isEmpty)
        #expect(problems("[caddy]\nlisten = []\n")[0].contains("is empty, so no URL would ever answer"))
    }

    @Test func `every problem is told at once, in the order of the file`() {
        let found = problems("[ports]\nmin = 0\nlimt = 3\n[daemon]\nlog_level = \"loud\"\n")
        #expect(found.map { $0.prefix(12) } == ["samd.toml:2:", "samd.toml:3:", "samd.toml:5:"])
    }

    @Test func `a syntax error has its line`() {
        #expect(problems("[ports]\nmin = = 3\n")[0].hasPrefix("samd.toml:2: not valid TOML: "))
    }

    @Test func `lines are found behind multi-line lists and strings`() {
        let lines = ConfigurationLines(
            "[ports]\nignore = [\n  8000, # ]\n  8001,\n]\nmin = 1\n[routes]\nvm = \"\"\"\nmin = 2\n\"\"\"\nuser = 'x'\n"
        )
        #expect(lines.line(of: "ports.min") == 6)
        #expect(lines.line(of: "routes.user") == 11)
        #expect(lines.line(of: "ports.unheard.of") == 1)
    }

    @Test func `a file that is missing means the defaults only where none was asked for`() throws {
        let path = "/nonexistent/samd.toml"
        #expect(try Configuration.load(path: path, mayBeMissing: true) == Configuration())
        #expect(throws: ConfigurationError.self) { try Configuration.load(path: path, mayBeMissing: false) }
    }

    @Test func `the template is a valid file and names every key`() throws {
        let template = ConfigurationReference.template
        #expect(try Configuration.parse(template, file: "samd.toml") == Configuration())
        let active = template.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.hasPrefix("# ") && $0.contains(" = ") ? String($0.dropFirst(2)) : String($0) }
            .joined(separator: "\n")
        #expect(
            try Configuration.parse(active, file: "samd.toml") == Configuration(),
            "defaults must be accepted values")
    }

    @Test func `keys that only count at a restart are named`() {
        var new = Configuration()
        new.daemon.socket = "/x"
        new.routes.domain = "example.com"
        #expect(ConfigurationSchema.keysThatNeedRestart(from: Configuration(), to: new) == ["daemon.socket"])
    }

    @Test(arguments: [
        ("{port}--{vm}.{domain}", true), ("{port}.{vm}.{domain}", true), ("x{port}.{domain}", false),
        ("{port}.{domain}", false), ("{port}{port}--{vm}.{domain}", false), ("{port}_{vm}.{domain}", false),
    ])
    func `a host pattern is taken only when it makes valid names`(pattern: String, isValid: Bool) {
        #expect(HostName.isPattern(pattern) == isValid)
    }

    @Test(arguments: [
        ("250ms", Duration.milliseconds(250)), ("20s", .seconds(20)), ("15m", .seconds(900)),
        ("2h", .seconds(7200)),
        ("7d", .seconds(604_800)),
    ])
    func `durations are read and written`(text: String, duration: Duration) {
        #expect(DurationText.parse(text) == duration)
        #expect(DurationText.render(duration) == text)
    }

    @Test(arguments: ["", "s", "5", "-1s", "5 s", "1h30m", "99999999999999999999d", "٣s"])
    func `what is no duration is not read`(text: String) {
        #expect(DurationText.parse(text) == nil)
    }

    @Test(arguments: ["127.0.0.1.de:8080", "127.999:80", "127.evil.example:80", "localhost.example:80"])
    func `a name that looks like a loopback address is none`(address: String) {
        #expect(problems("[caddy]\nlisten = [\"\(address)\"]\n").count == 1)
        #expect(problems("[caddy]\nadmin = \"\(address)\"\n").count == 1)
    }

    @Test func `an address that is named twice and a name that is too long are refused`() {
        let twice = problems("[caddy]\nlisten = [\"127.0.0.1:80\", \"127.0.0.1:80\"]\n")
        #expect(twice.count == 1 && twice[0].contains("names an address twice"))
        let long = problems("[routes]\nvm = \"\(String(repeating: "x", count: 60))\"\n")
        #expect(long.count == 1 && long[0].hasPrefix("samd.toml:2: routes.vm: makes 65535--xxx"))
    }

    @Test func `a reload leaves what needs a restart as it was`() {
        var new = Configuration()
        new.daemon.socket = "/new"
        new.caddy.admin = .tcp(host: "127.0.0.1", port: 2019)
        new.routes.domain = "example.com"
        ConfigurationSchema.keepWhatNeedsRestart(of: Configuration(), in: &new)
        var expected = Configuration()
        expected.routes.domain = "example.com"
        #expect(new == expected)
    }

    @Test(arguments: ["http://hooks.example.com/t0psecret", "t0psecret"])
    func `a webhook that is not accepted is not repeated, because it may be a secret`(url: String) {
        let problems = problems("[notify]\nwebhook = \"\(url)\"")
        #expect(problems.count == 1 && problems[0].contains("samd.toml:2: notify.webhook"))
        #expect(!problems[0].contains("t0psecret"))
    }

    @Test func `a notification's command is named by its whole path, and the test kind cannot be chosen`() {
        #expect(problems("[notify]\ncommand = [\"tell-me\"]").first?.contains("absolute path") == true)
        #expect(problems("[notify]\nevents = [\"test\"]").first?.contains("\"waiting\"") == true)
    }
}
