#!/usr/bin/env python3
"""Opens envelope.toml by docs/protocol.md, section 11, with none of our code, and checks what is inside against replication.toml.

Needs Python 3.11 and the package `cryptography` with ML-KEM (48 or later).
"""

import hashlib
import hmac
import pathlib
import tomllib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def vector(name):
    text = pathlib.Path(__file__).with_name(name).read_text()
    return {key: bytes.fromhex(value) for key, value in tomllib.loads(text).items()}


V, REPLICATION = vector("envelope.toml"), vector("replication.toml")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hkdf(chaining, material, count):
    temporary, out = hmac.digest(chaining, material, "sha256"), [b""]
    for number in range(count):
        out.append(hmac.digest(temporary, out[-1] + bytes([number + 1]), "sha256"))
    return out[1:]


def decrypt(key, number, sealed, bound):
    return ChaCha20Poly1305(key).decrypt(bytes(4) + number.to_bytes(8, "little"), sealed, bound)


def take(data, count):
    return data[:count], data[count:]


def length(data):
    """A length of the codec (section 1.2)."""
    if data[0] < 0xFB:
        return data[0], data[1:]
    size = {0xFB: 2, 0xFC: 4}[data[0]]
    return int.from_bytes(data[1 : 1 + size], "little"), data[1 + size :]


def main():
    envelope = V["envelope"]
    assert sha256(envelope) == V["envelope_name"]
    # Outside: version, channel, to, card, prekey, kem, content.
    member_length, _ = length(envelope[33:])
    kem_at = 33 + 1 + member_length + 1 + 1
    outside, rest = take(envelope, kem_at + 1088 + 32)
    kem, content = take(outside[kem_at:], 1088)
    assert outside[0] == 1 and outside[1:33] == V["channel"] and content == V["content"]
    count, sealed = length(rest)
    assert count == len(sealed)

    static = X25519PrivateKey.from_private_bytes(V["prekey_x25519_secret"])
    psk = MLKEM768PrivateKey.from_seed_bytes(V["prekey_ml_kem_seed"]).decapsulate(kem)
    h = ck = sha256(b"Noise_Npsk0_25519_ChaChaPoly_SHA256")
    h = sha256(h, b"demarche.v1 envelope", outside)
    h = sha256(h, static.public_key().public_bytes_raw())
    ck, mixed, _ = hkdf(ck, psk, 3)
    h = sha256(h, mixed)
    ephemeral, sealed = take(sealed, 32)
    h = sha256(h, ephemeral)
    ck, _ = hkdf(ck, ephemeral, 2)
    ck, key = hkdf(ck, static.exchange(X25519PublicKey.from_public_bytes(ephemeral)), 2)
    tag, sealed = take(sealed, 16)
    assert decrypt(key, 0, tag, h) == b""

    key, _ = hkdf(ck, b"", 2)
    contents, number = b"", 0
    while sealed:
        message, sealed = take(sealed, 65535)
        contents += decrypt(key, number, message, b"")
        number += 1
    assert len(contents) >= 2048 and len(contents).bit_count() == 1

    salt, rest = take(contents, 32)
    count, rest = take(rest, 4)
    frames, padding = take(rest, int.from_bytes(count, "big"))
    assert not any(padding)
    names = []
    for name in ("entry", "receipt", "card"):
        size, frames = take(frames, 2)
        frame, frames = take(frames, int.from_bytes(size, "big"))
        assert frame == REPLICATION[f"frame_{name}"], name
        if name == "entry":
            names.append(REPLICATION["entry_3_name"])
    assert not frames and sha256(salt, *names) == content
    print(f"{len(envelope)} bytes open to the three frames of replication.toml")


main()
