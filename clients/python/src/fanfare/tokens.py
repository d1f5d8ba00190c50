"""Tokens with which clients connect to a node. Deliberately minting alone: nodes check them. Needs the extra
`tokens`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import InvalidValue
from .topics import check_pattern, check_tenant, check_topic, check_user

_ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


def mint_token(
    key: str | bytes,
    tenant: str,
    user: str,
    *,
    channels: Iterable[str] = (),
    publish: Iterable[str] = (),
    methods: Iterable[str] = (),
    subscribe: Iterable[str] = (),
    ttl_s: int = 600,
    token_id: str | None = None,
    issuer: str | None = None,
    audience: str | None = None,
    algorithm: str = "HS256",
    key_id: str | None = None,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """A token for one user of one tenant, good for `ttl_s` seconds.

    - `key`: the secret, one of the nodes' `FANFARE_JWT_HS256_SECRET` (also in its form `kid:<id>:<secret>`); or, with
      `algorithm` RS256, ES256 or EdDSA, the private key in PEM.
    - `channels`: patterns of the **names** of channels that the user may subscribe to: `orders`, `team.*`, `**`.
    - `publish`: patterns of the **topics** that the user may publish to, kind and all: `channel:cursors:*`.
    - `methods`: patterns of the requests that the user may make: `dashboard.*`.
    - `subscribe`: topics that the node subscribes by itself: `channel:news`.
    - `token_id`: `jti`, by which the token can be revoked. `issuer`, `audience`: as the nodes are configured.
    - `claims`: more claims; nodes whose claims have other names read those.

    Raises `InvalidValue` for what no node would accept, and `ModuleNotFoundError` without the extra `tokens`.
    """
    try:
        import jwt  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("minting needs PyJWT: pip install 'fanfare[tokens]'") from error
    if algorithm not in _ALGORITHMS:
        raise InvalidValue("algorithm", f"must be one of {', '.join(_ALGORITHMS)}, and is {algorithm!r}")
    if isinstance(ttl_s, bool) or not isinstance(ttl_s, int) or ttl_s < 1:
        raise InvalidValue("ttl_s", f"must be a whole number of seconds, at least 1, and is {ttl_s!r}")
    now_s = int(time.time())
    payload: dict[str, Any] = {"sub": check_user(user), "tenant": check_tenant(tenant)}
    payload.update({"iat": now_s, "exp": now_s + ttl_s})
    for name, patterns in (("channels", channels), ("publish", publish), ("methods", methods)):
        payload[name] = [check_pattern(pattern, name) for pattern in _texts(name, patterns)]
    payload["subscribe"] = [_own_topic(topic, user) for topic in _texts("subscribe", subscribe)]
    payload.update({"jti": token_id, "iss": issuer, "aud": audience})
    payload = {name: value for name, value in payload.items() if value not in (None, [])}
    for name, value in (claims or {}).items():
        if name in payload:
            raise InvalidValue("claims", f"{name!r} has an argument of its own")
        payload[name] = value
    if algorithm == "HS256" and key_id is None:
        key, key_id = _split(key)
    try:
        return jwt.encode(payload, key, algorithm, headers={"kid": key_id} if key_id else None)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        # Without the cause, which may quote the key.
        raise InvalidValue("key", f"can't sign with {algorithm}: {type(error).__name__}") from None


def _split(secret: str | bytes) -> tuple[str | bytes, str | None]:
    """A secret in the form of the nodes' setting: `kid:<id>:<secret>`, or the secret alone."""
    text = secret.decode() if isinstance(secret, bytes) else secret
    if not isinstance(text, str) or not text:
        raise InvalidValue("key", "must be a secret, and is empty or no text")
    if not text.startswith("kid:"):
        return secret, None
    key_id, separator, rest = text[len("kid:") :].partition(":")
    if not separator or not rest:
        raise InvalidValue("key", "is a key id without a secret: write kid:<id>:<secret>")
    return rest, key_id or None


def _texts(name: str, values: Iterable[str]) -> Iterable[str]:
    if isinstance(values, str):
        raise InvalidValue(name, f"must be a list: [{values!r}]")
    return values


def _own_topic(topic: str, user: str) -> str:
    check_topic(topic, "subscribe")
    if topic.startswith("user:") and topic != f"user:{user}":
        raise InvalidValue("subscribe", f"{topic!r} is the topic of another user")
    return topic
