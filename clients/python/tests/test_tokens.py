from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fanfare import InvalidValue, channel, mint_token

from .support import SECRET, Node, RedisServer


def test_a_node_grants_what_the_token_says(node: Node) -> None:
    grants: Any = {"publish": ["channel:cursors:*"], "subscribe": ["channel:news"], "token_id": "t1", "ttl_s": 60}
    with node.client(channel("cursors:7"), user="a/b.c", tenant="ACME-2", **grants) as client:
        welcome = client.welcome
        assert (welcome["tenant"], welcome["user"]) == ("ACME-2", "a/b.c")
        assert abs(welcome["expires_at"] / 1000 - time.time() - 60) < 30
        assert "channel:news" in [topic["topic"] for topic in welcome["topics"]]
        client.send(op="publish", id=2, topic="channel:cursors:7", event={"type": "cursor.moved"})
        assert {client.next("published", "event")["op"] for _ in range(2)} == {"published", "event"}
        client.send(op="publish", id=3, topic="channel:orders", event={"type": "x"})
        assert client.next("error")["code"] == "forbidden"


def test_every_claim_is_where_the_protocol_has_it() -> None:
    token = mint_token(
        "kid:a:" + SECRET,
        "acme",
        "42",
        channels=["orders", "team.*"],
        publish=["user:*"],
        methods=["dashboard.*"],
        subscribe=["channel:news", "user:42"],
        token_id="t1",
        issuer="https://issuer",
        audience="fanfare",
        claims={"name": "Ana"},
    )
    claims = jwt.decode(token, SECRET, ["HS256"], audience="fanfare")
    assert claims.pop("exp") - claims.pop("iat") == 600
    assert claims == {
        "sub": "42",
        "tenant": "acme",
        "channels": ["orders", "team.*"],
        "publish": ["user:*"],
        "methods": ["dashboard.*"],
        "subscribe": ["channel:news", "user:42"],
        "jti": "t1",
        "iss": "https://issuer",
        "aud": "fanfare",
        "name": "Ana",
    }
    assert jwt.get_unverified_header(token)["kid"] == "a"
    least = jwt.decode(mint_token(SECRET.encode(), "acme", "42"), SECRET, ["HS256"])
    assert sorted(least) == ["exp", "iat", "sub", "tenant"]


@pytest.mark.parametrize(("algorithm", "key"), [("ES256", ec.generate_private_key(ec.SECP256R1())), ("EdDSA", None)])
def test_a_private_key_signs_what_a_node_with_the_public_key_takes(
    algorithm: str, key: Any, server: RedisServer, tmp_path: Path
) -> None:
    private = key or ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = tmp_path / "public.pem"
    public.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    node = Node(tmp_path / "node", server.url, FANFARE_JWT_PUBLIC_KEY_FILE=str(public))
    try:
        with node.client(key=pem, algorithm=algorithm) as client:
            assert client.welcome["user"] == "42"
    finally:
        node.process.kill()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tenant": "a:b"}, "tenant"),
        ({"user": "a b"}, "user"),
        ({"user": ""}, "user"),
        ({"user": 42}, "user"),
        ({"channels": ["a b"]}, "channels"),
        ({"channels": "orders"}, "channels"),
        ({"publish": ["***"]}, "publish"),
        ({"methods": [""]}, "methods"),
        ({"subscribe": ["orders"]}, "subscribe"),
        ({"subscribe": ["user:43"]}, "subscribe"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"algorithm": "none"}, "algorithm"),
        ({"algorithm": "RS256"}, "key"),
        ({"key": ""}, "key"),
        ({"key": "kid:a"}, "key"),
        ({"claims": {"sub": "43"}}, "claims"),
        ({"claims": {"odd": object()}}, "key"),
    ],
)
def test_a_token_that_no_node_would_take_is_not_made(changes: Any, field: str) -> None:
    with pytest.raises(InvalidValue) as invalid:
        mint_token(**{"key": SECRET, "tenant": "acme", "user": "42", **changes})
    assert invalid.value.field == field
    assert SECRET not in str(invalid.value)


def test_without_pyjwt_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ModuleNotFoundError, match=r"fanfare\[tokens\]"):
        mint_token(SECRET, "acme", "42")
