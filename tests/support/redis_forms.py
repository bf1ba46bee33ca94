"""A Redis of the system that asks for a password, on a socket, a port, or a port with TLS."""

import datetime
import ipaddress
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis, RedisError

from tests.support.parts import require
from tests.support.waiting import until

USER, PASSWORD = "upload", "p@ss/word:1"
#: As a URL has them.
CREDENTIALS = "upload:p%40ss%2Fword%3A1"
FORMS = ("redis", "rediss", "unix")


class LockedRedis:
    """A Redis that lets nobody in without a password. url: with it."""

    def __init__(self, folder: Path, form: str) -> None:
        """form: of its URL, one of FORMS. folder: with a short path, for the socket."""
        program = shutil.which("redis-server")
        require(program is not None, "needs Redis: apt install redis-server")
        port, path = _free_port(), folder / "redis.sock"
        place = {
            "redis": f"{CREDENTIALS}@127.0.0.1:{port}/2",
            "rediss": f"{CREDENTIALS}@127.0.0.1:{port}/2?ssl_ca_certs={folder / 'redis.crt'}",
            "unix": f"{CREDENTIALS}@{path}?db=2",
        }
        self.url = f"{form}://{place[form]}"
        self.url_of_nobody = self.url.replace(f"{CREDENTIALS}@", "upload:wrong@")
        certificate, key = folder / "redis.crt", folder / "redis.key"
        of_tls = {"tls-port": port, "tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate}
        listening: dict[str, list[object]] = {
            "redis": ["--port", port],
            "rediss": ["--port", 0, "--tls-auth-clients", "no", *_options(of_tls)],
            "unix": ["--port", 0, "--unixsocket", path],
        }
        if form == "rediss":
            make_certificate(certificate, key)
        config = folder / "redis.conf"
        config.write_text(f'user default off\nuser {USER} on >{PASSWORD} ~* &* +@all\nsave ""\ndir {folder}\n')
        words = [str(program), str(config), *map(str, listening[form])]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        until(self._answers, "Redis to answer")

    def _answers(self) -> bool:
        assert self._process.poll() is None
        with Redis.from_url(self.url, socket_timeout=1) as client, suppress(RedisError):
            return bool(client.ping())
        return False

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _options(values: Mapping[str, object]) -> list[object]:
    return [word for name, value in values.items() for word in (f"--{name}", value)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def make_certificate(certificate: Path, key: Path) -> None:
    """One for 127.0.0.1 that signs itself, valid for a day."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(secret.private_bytes(encoding, form, serialization.NoEncryption()))
