"""The issuer of OpenID Connect: its metadata and keys, and the code flow with it."""

import hmac
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from jobs.settings import Settings
from webapp.errors import IssuerUnavailableError, RejectedSignInError
from webapp.oidc.pending import PendingSignIns

log = logging.getLogger(__name__)

#: Seconds that the issuer may take for one answer.
TIMEOUT = 5.0
#: Bytes of its longest answer.
LONGEST = 1 << 20
#: Seconds for which its metadata and keys are kept; and between two looks for a key that a token names and that is not
#: among them.
KEPT_SECONDS = 3600.0
NEW_KEY_SECONDS = 30.0
#: Seconds by which its clock may differ.
LEEWAY = 60
#: Signatures that nobody can make who knows what both sides know: neither `none` nor those with the client's secret.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
SCOPE = "openid profile email"


@dataclass(frozen=True)
class SignIn:
    """Whom the issuer signed in. claims: of the ID token, and of the user's information. target: where the browser
    wanted to go."""

    issuer: str
    claims: Mapping[str, Any]
    identity_token: str
    target: str


class Issuer:
    """Raises IssuerUnavailableError in each method if it does not answer as the standard says."""

    def __init__(self, settings: Settings) -> None:
        """The settings have all that belongs to an issuer."""
        self._url = settings.oidc_issuer or ""
        self._client_id = settings.oidc_client_id or ""
        self._client_secret = settings.oidc_client_secret or ""
        self._wanted_claims = [each for each in (settings.oidc_role_claim, settings.oidc_group_claim) if each]
        self._pending = PendingSignIns(self._client_secret)
        self._http = httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=True)
        self._metadata: dict[str, Any] = {}
        self._metadata_until = 0.0
        self._keys = KeySet([])
        self._keys_until = self._keys_from = 0.0

    async def close(self) -> None:
        await self._http.aclose()

    async def begin(self, redirect_uri: str, target: str) -> tuple[str, str]:
        """The address to which the browser goes, and what it keeps in a cookie until it comes back."""
        metadata = await self._known()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        client = OAuth2Client(
            None, self._client_id, scope=SCOPE, redirect_uri=redirect_uri, code_challenge_method="S256"
        )
        url, _ = client.create_authorization_url(
            metadata["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
        )
        cookie = self._pending.seal({"state": state, "nonce": nonce, "verifier": verifier, "target": target})
        return str(url), cookie

    async def finish(self, redirect_uri: str, cookie: str, answer: Mapping[str, str]) -> SignIn:
        """answer: the parameters with which the browser came back. Raises RejectedSignInError."""
        pending = self._pending.open(cookie)
        if not hmac.compare_digest(pending["state"].encode(), answer.get("state", "").encode()):
            raise RejectedSignInError("The answer belongs to another attempt to sign in.", "late")
        metadata = await self._known()
        if answer.get("iss", metadata["issuer"]) != metadata["issuer"]:  # RFC 9207
            raise RejectedSignInError("The answer is from another issuer.")
        if "error" in answer:
            raise RejectedSignInError(f"The issuer refused: {answer['error'][:100]}.")
        token = await self._exchange(redirect_uri, answer.get("code", ""), pending["verifier"])
        claims = await self._verified(token["id_token"], pending["nonce"])
        more = await self._user_information(claims, token.get("access_token"))
        return SignIn(metadata["issuer"], {**more, **claims}, token["id_token"], pending["target"])

    async def sign_out_url(self, identity_token: str, back: str) -> str | None:
        """Where the browser signs out at the issuer and then goes back; None: the issuer has no such page."""
        endpoint = (await self._known()).get("end_session_endpoint")
        if not isinstance(endpoint, str):
            return None
        query = {"id_token_hint": identity_token, "client_id": self._client_id, "post_logout_redirect_uri": back}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def _exchange(self, redirect_uri: str, code: str, verifier: str) -> dict[str, Any]:
        """Raises RejectedSignInError."""
        metadata = await self._known()
        body = prepare_token_request("authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier)
        offered = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = "client_secret_basic" if "client_secret_basic" in offered else "client_secret_post"
        auth = ClientAuth(self._client_id, self._client_secret, method)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url, headers, body = auth.prepare("POST", metadata["token_endpoint"], headers, body)
        token = await self._ask("POST", url, headers=headers, content=body)
        if not isinstance(token.get("id_token"), str):
            error = str(token.get("error", "it sent no ID token"))
            log.warning("The issuer did not accept the code of a sign-in: %s", error[:100])
            raise RejectedSignInError("The issuer did not accept the code.")
        return token

    async def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token (OpenID Connect Core, 3.1.3.7). Raises RejectedSignInError."""
        metadata = await self._known()
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        registry = JWSRegistry(
            algorithms=[each for each in ALGORITHMS if each in offered] or ["RS256"], strict_check_header=False
        )
        expected = JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": metadata["issuer"]},
            aud={"essential": True, "value": self._client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            try:
                claims = jwt.decode(token, await self._key_set(), registry=registry).claims
            except InvalidKeyIdError:
                claims = jwt.decode(token, await self._key_set(is_new=True), registry=registry).claims
            expected.validate(claims)
        except (JoseError, ValueError) as error:
            log.warning("The ID token of a sign-in is not valid: %s", error)
            raise RejectedSignInError("The issuer's ID token is not valid.") from error
        audience = claims["aud"]
        is_for_several = isinstance(audience, list) and len(audience) > 1
        if claims.get("azp", None if is_for_several else self._client_id) != self._client_id:
            log.warning("The ID token of a sign-in is for another client.")
            raise RejectedSignInError("The issuer's ID token is not valid.")
        return claims

    async def _user_information(self, claims: Mapping[str, Any], access_token: Any) -> dict[str, Any]:
        """What the ID token does not say, as far as anybody asks. Raises RejectedSignInError."""
        endpoint = (await self._known()).get("userinfo_endpoint")
        wanted = {each.partition(".")[0] for each in self._wanted_claims} | {"preferred_username"}
        if wanted <= claims.keys() or not isinstance(endpoint, str) or not isinstance(access_token, str):
            return {}
        found = await self._ask("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})
        if found.get("sub") != claims["sub"]:
            raise RejectedSignInError("The issuer told of another user.")
        return found

    async def _known(self) -> dict[str, Any]:
        """The metadata of the issuer (OpenID Connect Discovery, 4.2)."""
        if time.monotonic() < self._metadata_until:
            return self._metadata
        found = await self._ask("GET", f"{self._url.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self._url:
            raise IssuerUnavailableError(
                f"it calls itself “{str(found.get('issuer'))[:200]}”, and BULK_UPLOAD_OIDC_ISSUER is “{self._url}”"
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(found.get(name), str):
                raise IssuerUnavailableError(f"its metadata has no {name}")
        self._metadata, self._metadata_until = found, time.monotonic() + KEPT_SECONDS
        return found

    async def _key_set(self, *, is_new: bool = False) -> KeySet:
        now = time.monotonic()
        if now >= self._keys_until or (is_new and now >= self._keys_from + NEW_KEY_SECONDS):
            found = await self._ask("GET", (await self._known())["jwks_uri"])
            self._keys = _key_set(found.get("keys"))
            self._keys_from, self._keys_until = now, now + KEPT_SECONDS
        return self._keys

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """A JSON object, also of an answer with an error of the client's."""
        try:
            async with self._http.stream(method, url, **more) as response:
                content = bytearray()
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > LONGEST:
                        raise IssuerUnavailableError("its answer is too long")
                is_broken = response.status_code >= 500 or response.status_code in range(300, 400)
                found = None if is_broken else httpx.Response(200, content=bytes(content)).json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise IssuerUnavailableError(f"{type(error).__name__}: {error}") from error
        if not isinstance(found, dict):
            raise IssuerUnavailableError(f"it answered with status {response.status_code}")
        return found


def _key_set(keys: Any) -> KeySet:
    """Of the keys that are for signatures and of a kind that is known."""
    known = []
    for each in keys if isinstance(keys, list) else []:
        if isinstance(each, dict) and each.get("use", "sig") == "sig" and each.get("kty") != "oct":
            try:
                known += KeySet.import_key_set({"keys": [each]}).keys
            except (JoseError, ValueError, KeyError):
                log.info("A key of the issuer is of an unknown kind.")
    return KeySet(known)
