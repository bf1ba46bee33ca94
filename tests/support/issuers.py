"""Issuers of OpenID Connect: a real one that others wrote, and one that lies."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from tests.support.waiting import until

CLIENT_ID, CLIENT_SECRET = "bulk-upload", "the secret of the client"


class Provider:
    """oidc-provider-mock, as a process: an issuer that knows everybody."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "issuer.log"
        with self._log.open("wb") as log:
            words = [sys.executable, "-m", "oidc_provider_mock", "--host", "127.0.0.1", "--port", "0"]
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        found = until(self._address, "the issuer to listen")
        self.url = f"http://localhost:{found}"

    def _address(self) -> str | None:
        text = self._log.read_text("utf-8")
        assert self._process.poll() is None, text
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", text)
        return found[1] if found else None

    def know(self, subject: str, **claims: object) -> None:
        """What it says of a user."""
        httpx.put(f"{self.url}/users/{subject}", json=claims).raise_for_status()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@contextmanager
def provider(folder: Path) -> Iterator[Provider]:
    running = Provider(folder)
    try:
        yield running
    finally:
        running.stop()


def settings_for(url: str) -> dict[str, str]:
    return {"oidc_issuer": url, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}


class Liar:
    """An issuer whose answers a test decides: changes of its metadata, and of the ID token's header and claims, the
    times among them in seconds from now.

    asked: the parameters of the last request for a code, and those of the last one for a token.
    """

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.signing_key: Any = self.key
        self.metadata: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.identity_token: str | None = None
        self.information: dict[str, Any] | None = {"sub": "1"}
        self.asked: dict[str, str] = {}
        self.redeemed: dict[str, str] = {}
        self.authorization: str | None = None
        self.counts: dict[str, int] = {}
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(liar.answer(urlsplit(self.path).path, {}))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                liar.authorization = self.headers["authorization"]
                liar.redeemed = {name: values[0] for name, values in parse_qs(body).items()}
                self._answer(liar.answer(urlsplit(self.path).path, liar.redeemed))

            def _answer(self, found: Mapping[str, Any] | None) -> None:
                self.send_response(500 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])

    def answer(self, path: str, asked: Mapping[str, str]) -> Mapping[str, Any] | None:
        self.counts[path] = self.counts.get(path, 0) + 1
        if path == "/.well-known/openid-configuration":
            names = {
                "authorization_endpoint": "/authorize",
                "token_endpoint": "/token",
                "jwks_uri": "/keys",
                "userinfo_endpoint": "/information",
                "end_session_endpoint": "/end?tenant=1",
            }
            found: dict[str, Any] = {name: self.url + path for name, path in names.items()}
            return {"issuer": self.url, **found, **self.metadata}
        if path == "/keys":
            return KeySet([self.key]).as_dict(private=False)
        if path == "/token":
            return {"access_token": "x", "token_type": "Bearer", "id_token": self.identity_token or self.signed()}
        return self.information

    def signed(self) -> str:
        """The ID token."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url, "aud": CLIENT_ID, "sub": "1", "iat": 0, "exp": 60,
            "nonce": self.asked["nonce"], "preferred_username": "Ana", **self.claims,
        }  # fmt: skip
        for name in ("iat", "exp", "nbf"):
            if isinstance(claims.get(name), int):
                claims[name] += now
        kept = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": "one", **self.header}
        return jwt.encode(header, kept, self.signing_key, algorithms=[header["alg"]])

    def __enter__(self) -> "Liar":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
