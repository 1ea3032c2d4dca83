"""Tokens that another implementation made: PyJWT signs them and writes the key set, grpcio calls with them."""

import json
import time

import grpc
import jwt
import pytest
from client import Client, refused
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from gitpod.v1 import identity_pb2
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://idp.example.com"
METHOD = "/gitpod.v1.IdentityService/GetAuthenticatedIdentity"

ENTRY = """
[[identity.jwt]]
id = "idp"
issuer = "https://idp.example.com"
audiences = ["gateway"]
jwks_file = "{keys}"
algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
org = "acme"
"""

# The kind of key that each algorithm needs.
ALGORITHMS = {
    "RS256": "rsa",
    "RS384": "rsa",
    "RS512": "rsa",
    "PS256": "rsa",
    "PS384": "rsa",
    "PS512": "rsa",
    "ES256": "p256",
    "ES384": "p384",
    "EdDSA": "ed",
}


@pytest.fixture(scope="module")
def keys():
    return {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "ed": ed25519.Ed25519PrivateKey.generate(),
    }


@pytest.fixture
def gateway(serve, keys, tmp_path):
    writers = {"rsa": RSAAlgorithm, "p256": ECAlgorithm, "p384": ECAlgorithm, "ed": OKPAlgorithm}
    published = [json.loads(writers[kind].to_jwk(key.public_key())) | {"kid": kind} for kind, key in keys.items()]
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": published}))
    file.chmod(0o644)
    # Nobody is there: who calls is answered by the gateway itself.
    return serve("http://127.0.0.1:1/api", ENTRY.format(keys=file))


def who_am_i(gateway, token):
    with grpc.insecure_channel(gateway.address()) as channel:
        ask = channel.unary_unary(
            METHOD,
            request_serializer=identity_pb2.GetAuthenticatedIdentityRequest.SerializeToString,
            response_deserializer=identity_pb2.GetAuthenticatedIdentityResponse.FromString,
        )
        metadata = Client(channel, token).metadata
        return ask(identity_pb2.GetAuthenticatedIdentityRequest(), timeout=20, metadata=metadata)


def claims(**more):
    now = int(time.time())
    good = {"iss": ISSUER, "aud": ["gateway"], "sub": "ada@example.com", "iat": now, "nbf": now, "exp": now + 600}
    return good | more


def test_tokens_by_every_algorithm_are_known(gateway, keys):
    for algorithm, kind in ALGORITHMS.items():
        token = jwt.encode(claims(), keys[kind], algorithm=algorithm, headers={"kid": kind})

        assert who_am_i(gateway, token).subject.id == "ada@example.com", algorithm


def test_what_pyjwt_calls_a_token_is_not_one_if_it_is_expired_unsigned_or_for_another(gateway, keys):
    headers = {"kid": "p256"}
    bad = [
        jwt.encode(claims(exp=int(time.time()) - 60), keys["p256"], algorithm="ES256", headers=headers),
        jwt.encode(claims(aud="else"), keys["p256"], algorithm="ES256", headers=headers),
        jwt.encode(claims(), None, algorithm="none", headers=headers),
        jwt.encode(claims(), "x" * 64, algorithm="HS256", headers=headers),
        jwt.encode(claims(), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers=headers),
    ]
    for token in bad:
        with refused(grpc.StatusCode.UNAUTHENTICATED) as refusal:
            who_am_i(gateway, token)
        assert refusal().info.reason == "UNAUTHENTICATED"
