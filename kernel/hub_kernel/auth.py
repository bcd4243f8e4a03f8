"""Who is asking: bearer tokens (JWT, RFC 7519) signed by the configured issuer, or by the local one.

The local issuer exists so that the embedded hub is closed from its first minute; its key lies in the data
directory with mode 0600. A hub without a real issuer must not listen beyond loopback (``runtime``).
"""

import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, get_args

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from hub_kernel.clock import epoch_seconds, new_id
from hub_kernel.errors import Forbidden, Unauthenticated, Unavailable
from hub_kernel.private_files import read_or_make

Role = Literal["records_system", "assessor", "partner_client", "auditor", "operator"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
LOCAL_ISSUER: Final = "referral-hub-local"
_ALGORITHMS: Final = ["Ed25519", "EdDSA", "RS256", "RS512", "PS256", "ES256"]
_LEEWAY_SECONDS: Final = 30
_CACHED_TOKENS: Final = 4_096
_BEARER: Final = re.compile(r"^[Bb]earer +([A-Za-z0-9._~+/=-]+)$")


class TokenRefused(Unauthenticated):
    """The bearer token is not valid here: unknown signer, expired, or for another audience. Get a new one."""

    slug: ClassVar[str] = "token-refused"


class IssuerUnusable(Unavailable):
    """The issuer's keys cannot be read. HUB_ISSUER_JWKS_FILE must hold a JWK set with public keys."""

    slug: ClassVar[str] = "issuer-unusable"


class LocalKeyUnusable(Unavailable):
    """The local issuer's key cannot be used: issuer.key must be a JWK in a file only its owner can read."""

    slug: ClassVar[str] = "local-key-unusable"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. ``system`` names a records system; ``agency`` a partner client's agency.

    ``authority`` bounds whoever carries it to that local authority; without it, all of the force's.
    """

    subject: str
    role: Role
    authority: str | None = None
    agency: str | None = None
    system: str | None = None


class TokenVerifier:
    """Checks tokens: signature, times, issuer, audience, role. Claims are read as RFC 7519 names them."""

    def __init__(self, keys: KeySet, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer, self._audience = issuer, audience
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def verify(self, token: str, *, at: datetime | None = None) -> Principal:
        """Say who a token stands for at an instant, now unless another is named. Raises ``TokenRefused``.

        A token seen before is not verified again for an instant between its beginning and its end:
        verifying a signature costs more than the rest of a request.
        """
        instant = epoch_seconds() if at is None else at.timestamp()
        known = self._known.get(token)
        if known is not None and known.begins <= instant < known.ends:
            return known.principal
        try:
            decoded = jwt.decode(token, self._keys, algorithms=_ALGORITHMS)
            self._claims_at(instant).validate(decoded.claims)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            # The last two: the library takes what a hostile header holds for what it should hold.
            raise TokenRefused from error
        principal = _principal(decoded.claims)
        begins = max(float(decoded.claims.get(name, 0)) for name in ("iat", "nbf"))
        self._known[token] = _Known(begins, float(decoded.claims["exp"]), principal)
        if len(self._known) > _CACHED_TOKENS:
            self._known.popitem(last=False)
        return principal

    def _claims_at(self, instant: float) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=int(instant),
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """Whom a verified token stands for, and in which seconds since 1970."""

    begins: float
    ends: float
    principal: Principal


def bearer_token(header: str | None) -> str:
    """The token in the value of an ``Authorization`` header (RFC 6750). Raises ``Unauthenticated``."""
    if header is not None and (match := _BEARER.match(header)):
        return match[1]
    raise Unauthenticated


class LocalIssuer:
    """Signs tokens for the embedded hub with a key of its own (Ed25519)."""

    def __init__(self, path: Path, audience: str) -> None:
        self._audience = audience
        self._key = _load_or_make(path)

    name = LOCAL_ISSUER

    @property
    def keys(self) -> KeySet:
        """The public side, as a verifier wants it."""
        return KeySet([self._key])

    def token(
        self,
        role: Role,
        *,
        subject: str,
        lifetime_seconds: int = 3_600,
        audience: str | None = None,
        authority: str | None = None,
        agency: str | None = None,
        system: str | None = None,
    ) -> str:
        """Sign a token for a role. Claims that are ``None`` are left out."""
        now = int(epoch_seconds())
        claims: dict[str, Any] = {
            "iss": LOCAL_ISSUER,
            "aud": audience or self._audience,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime_seconds,
            "jti": str(new_id()),
            "role": role,
        }
        bounds = {"authority": authority, "agency": agency, "system": system}
        claims |= {name: value for name, value in bounds.items() if value is not None}
        return jwt.encode({"alg": "Ed25519"}, claims, self._key, algorithms=_ALGORITHMS)


def read_issuer_keys(path: Path) -> KeySet:
    """Read an identity provider's public keys. Raises ``IssuerUnusable``."""
    try:
        return KeySet.import_key_set(json.loads(path.read_text()))
    except (OSError, ValueError, JoseError, KeyError) as error:
        raise IssuerUnusable from error


def _principal(claims: dict[str, Any]) -> Principal:
    role = claims.get("role")
    if role not in ROLES:
        raise Forbidden("The token names no role of this hub. Ask the issuer for one of: " + ", ".join(ROLES))
    return Principal(
        subject=str(claims["sub"]),
        role=role,
        authority=_text(claims, "authority"),
        agency=_text(claims, "agency"),
        system=_text(claims, "system"),
    )


def _text(claims: dict[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None or isinstance(value, str):
        return value
    raise TokenRefused  # read as absent, a bound that cannot be read would open everything


def _load_or_make(path: Path) -> OKPKey:
    try:
        return OKPKey.import_key(json.loads(read_or_make(path, _new_key)))
    except (OSError, ValueError, JoseError) as error:
        raise LocalKeyUnusable from error


def _new_key() -> bytes:
    return json.dumps(OKPKey.generate_key("Ed25519", private=True).as_dict(private=True)).encode()
