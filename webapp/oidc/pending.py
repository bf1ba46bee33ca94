"""What a browser keeps in a cookie while its user signs in at the issuer: encrypted, and valid for minutes."""

import hashlib
import time
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry
from joserfc.jwk import OctKey

from webapp.errors import RejectedSignInError

#: Seconds that signing in at the issuer may take.
VALID_SECONDS = 600


class PendingSignIns:
    """The key comes from the client's secret, so all web processes have the same."""

    def __init__(self, client_secret: str) -> None:
        digest = hashlib.sha256(b"bulk-upload: sign-ins that are pending\0" + client_secret.encode()).digest()
        self._key = OctKey.import_key(digest)
        self._registry = JWERegistry(algorithms=["dir", "A256GCM"])

    def seal(self, values: dict[str, str]) -> str:
        claims: dict[str, Any] = {**values, "exp": int(time.time()) + VALID_SECONDS}
        return jwt.encode({"alg": "dir", "enc": "A256GCM"}, claims, self._key, registry=self._registry)

    def open(self, cookie: str) -> dict[str, str]:
        """Raises RejectedSignInError."""
        try:
            claims = jwt.decode(cookie, self._key, registry=self._registry).claims
        except (JoseError, ValueError) as error:
            raise RejectedSignInError("This browser did not begin to sign in.", "late") from error
        if claims["exp"] < time.time():
            raise RejectedSignInError("Signing in took too long.", "late")
        return claims
