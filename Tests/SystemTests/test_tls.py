"""Published URLs over TLS: with Caddy's own authority, or with files that somebody provides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import caddy_binds
from harness.machine import Machine
from harness.samd import WEB_USER, Samd, Settings, host_of

PORT = 8443
ROOT = "/opt/root.crt"
FILES = "/etc/caddy/tls"


@pytest.fixture(scope="module")
def samd(deb: Path, caddy_version: str) -> Iterator[Samd]:
    """samd with every Caddy, over TLS of Caddy's own authority at first."""
    with Machine(binds=caddy_binds(caddy_version)) as machine:
        samd = Samd(machine)
        samd.install(deb, settings("internal"))
        yield samd


def settings(tls: str, **more: object) -> dict[str, dict[str, object]]:
    return {
        "workspace": {"owners": ["dev"]},
        "caddy": {"listen": [f"127.0.0.1:{PORT}"], "tls": tls, **more},
    }


def reconfigure(samd: Samd, values: Settings) -> None:
    samd.configure(values)
    samd.machine.run(["systemctl", "reload", "samd"])


def fetch(samd: Samd, name: int | str, authority: str, password: str | None = None) -> str:
    """The status of a request that trusts one authority only; curl's exit code, negative, when there is no answer."""
    host = host_of(name)
    options = [
        f'url = "https://{host}:{PORT}/"',
        f'resolve = "{host}:{PORT}:127.0.0.1"',
        f'cacert = "{authority}"',
        'output = "/dev/null"',
        'write-out = "%{http_code}"',
        "max-time = 10",
        "silent",
    ]
    if password is not None:
        options.append(f'user = "{WEB_USER}:{password}"')
    result = samd.machine.run(["curl", "--config", "-"], input="\n".join(options), check=False)
    return result.stdout if result.returncode == 0 else str(-result.returncode)


def wait_fetch(samd: Samd, name: int, authority: str, status: str = "200") -> None:
    samd.machine.wait_for(
        lambda: fetch(samd, name, authority, samd.password) == status, f"https answers {status}", 15
    )


def put_caddys_authority(samd: Samd) -> None:
    """Asks Caddy for its root certificate, as an operator would to trust it."""
    ask = ["curl", "--fail", "--silent", "--unix-socket", "/run/caddy/admin.sock", "--header", "Host;"]
    authority = samd.machine.wait_for(
        lambda: samd.machine.output([*ask, "http://localhost/pki/ca/samd/certificates"], check=False),
        "Caddy has an authority",
    )
    samd.machine.put_file(ROOT, authority)


def make_certificate(samd: Samd, serial: int) -> None:
    """A self-signed certificate for every port's name, its key for Caddy alone."""
    samd.machine.run(f"install -d -o caddy -g caddy -m 750 {FILES}")
    samd.machine.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=tests"
        f" -set_serial {serial} -addext 'subjectAltName=DNS:{host_of(3000)},DNS:{host_of(3001)}'"
        f" -keyout {FILES}/key.pem -out {FILES}/certificate.pem && chown caddy: {FILES}/* && chmod 600 {FILES}/key.pem"
    )


def served_serial(samd: Samd) -> str:
    """The serial number of the certificate that is served."""
    shown = samd.machine.output(
        f"openssl s_client -connect 127.0.0.1:{PORT} -servername {host_of(3000)} < /dev/null 2> /dev/null"
        " | openssl x509 -noout -serial"
    )
    return shown.removeprefix("serial=").lower()


def test_caddys_own_authority_serves_every_port(samd: Samd) -> None:
    samd.serve(3000)
    put_caddys_authority(samd)
    wait_fetch(samd, 3000, ROOT)
    assert fetch(samd, 3000, ROOT) == "401"
    public_authorities = "/etc/ssl/certs/ca-certificates.crt"
    assert fetch(samd, 3000, public_authorities, samd.password) == "-60"
    assert samd.wait_port(3000, "published")["url"] == f"https://{host_of(3000)}:{PORT}/"
    samd.serve(3001)
    wait_fetch(samd, 3001, ROOT)


def test_the_certificate_of_files_is_served_and_renewed_at_reload(samd: Samd) -> None:
    files = {"certificate": f"{FILES}/certificate.pem", "key": f"{FILES}/key.pem"}
    make_certificate(samd, 0x1111)
    reconfigure(samd, settings("files", **files))
    samd.serve(3000)
    wait_fetch(samd, 3000, files["certificate"])
    assert served_serial(samd) == "1111"
    make_certificate(samd, 0x2222)
    samd.machine.run(["systemctl", "reload", "samd"])
    samd.machine.wait_for(lambda: served_serial(samd) == "2222", "the new certificate is served")
    wait_fetch(samd, 3000, files["certificate"])


def test_a_certificate_that_caddy_cannot_use_leaves_the_old_one(samd: Samd) -> None:
    files = {"certificate": f"{FILES}/certificate.pem", "key": f"{FILES}/key.pem"}
    make_certificate(samd, 0x3333)
    reconfigure(samd, settings("files", **files))
    samd.serve(3000)
    samd.machine.wait_for(lambda: served_serial(samd) == "3333", "the certificate is served")
    since = samd.events()[-1]["id"]
    samd.machine.run(f"cp {FILES}/certificate.pem /opt/good.pem && echo garbage > {FILES}/certificate.pem")
    samd.machine.run(["systemctl", "reload", "samd"], check=False)
    samd.machine.wait_for(
        lambda: any(
            event["type"] == "configuration.refused" and "certificate" in event["message"]
            for event in samd.events(since)
        ),
        "samd says that it cannot be used",
    )
    assert fetch(samd, 3000, "/opt/good.pem", samd.password) == "200"
    samd.serve(3001)
    wait_fetch(samd, 3001, "/opt/good.pem")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[caddy]\nlisten = ["0.0.0.0:8080"]\n', (":2: caddy.listen:", "tls = ")),
        ('[caddy]\ntls = "files"\n', (":2: caddy.",)),
        ('[caddy]\n\ntls = "automatic"\n', (":3: caddy.tls:", "internal")),
    ],
    ids=["clear text to the world", "files without files", "unknown choice"],
)
def test_a_configuration_without_the_tls_it_needs_is_refused(
    samd: Samd, text: str, says: tuple[str, ...]
) -> None:
    samd.machine.put_file("/tmp/wrong.toml", text)
    result = samd.cli("config", "check", "/tmp/wrong.toml", check=False)
    assert result.returncode == 78
    for part in ("/tmp/wrong.toml", *says):
        assert part in result.stderr, result.stderr


def test_every_address_may_be_listened_on_with_tls(samd: Samd) -> None:
    samd.machine.put_file("/tmp/fine.toml", '[caddy]\ntls = "internal"\nlisten = ["0.0.0.0:8443"]\n')
    assert "is fine" in samd.cli("config", "check", "/tmp/fine.toml").stdout
