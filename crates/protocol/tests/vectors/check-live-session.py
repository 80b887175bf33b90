#!/usr/bin/env python3
"""Works live-session.toml out anew from docs/protocol.md, section 7, with none of our code.

Needs Python 3.11 and the package `cryptography` with ML-KEM (48 or later). Every byte is computed but the
ML-KEM ciphertext, for which that package lets nobody choose the randomness: it is taken from the vector and decapsulated.
"""

import hashlib
import hmac
import pathlib
import tomllib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

FILE = pathlib.Path(__file__).with_name("live-session.toml")
V = {key: bytes.fromhex(value) for key, value in tomllib.loads(FILE.read_text()).items()}


def public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def dh(secret, theirs):
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(theirs))


def nonce(number):
    return bytes(4) + number.to_bytes(8, "little")


def framed(message):
    return len(message).to_bytes(2, "big") + message


class Symmetric:
    """Noise, section 5.2."""

    def __init__(self, name, prologue):
        self.h = self.ck = hashlib.sha256(name).digest()
        self.key, self.sealed = None, 0
        self.mix_hash(prologue)

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def hkdf(self, material):
        temporary = hmac.digest(self.ck, material, "sha256")
        first = hmac.digest(temporary, b"\x01", "sha256")
        return first, hmac.digest(temporary, first + b"\x02", "sha256")

    def mix_key(self, material):
        self.ck, self.key = self.hkdf(material)
        self.sealed = 0

    def encrypt_and_hash(self, plain):
        sealed = plain
        if self.key:
            sealed = ChaCha20Poly1305(self.key).encrypt(nonce(self.sealed), plain, self.h)
            self.sealed += 1
        self.mix_hash(sealed)
        return sealed


def check(what, computed, published):
    assert computed == published, f"{what} differs"
    print(f"{what}: {len(computed)} bytes agree")


def main():
    opener_e, responder_e = V["opener_ephemeral_secret"], V["responder_ephemeral_secret"]
    opener_s, responder_s = V["opener_static_secret"], V["responder_static_secret"]
    kem = MLKEM768PrivateKey.from_seed_bytes(V["opener_ml_kem_d"] + V["opener_ml_kem_z"])
    noise = Symmetric(V["noise_name"], b"demarche.v1 live session" + b"\x01" + V["channel"])

    noise.mix_hash(public(opener_e))
    message = public(opener_e) + noise.encrypt_and_hash(kem.public_key().public_bytes_raw())
    message += noise.encrypt_and_hash(b"")
    check("stream 1", b"\x01" + V["channel"] + framed(message), V["stream_1_from_opener"])

    noise.mix_hash(public(responder_e))
    message = public(responder_e)
    noise.mix_key(dh(responder_e, public(opener_e)))
    sealed = V["stream_2_from_responder"][2 + 32 :][: 1088 + 16]
    ciphertext = ChaCha20Poly1305(noise.key).decrypt(nonce(0), sealed, noise.h)
    message += noise.encrypt_and_hash(ciphertext)
    noise.mix_key(kem.decapsulate(ciphertext))
    message += noise.encrypt_and_hash(public(responder_s))
    noise.mix_key(dh(responder_s, public(opener_e)))
    message += noise.encrypt_and_hash(V["responder_introduction"])
    check("stream 2", framed(message), V["stream_2_from_responder"])

    message = noise.encrypt_and_hash(public(opener_s))
    noise.mix_key(dh(opener_s, public(responder_e)))
    message += noise.encrypt_and_hash(V["opener_introduction"])
    check("stream 3", framed(message), V["stream_3_from_opener"])
    check("handshake hash", noise.h, V["handshake_hash"])

    keys = dict(zip(("opener", "responder"), noise.hkdf(b"")))
    for side, numbers in (("opener", (4, 5)), ("responder", (6, 7))):
        for before, number in enumerate(numbers):
            frame = V[f"frame_{number}_from_{side}"]
            sealed = ChaCha20Poly1305(keys[side]).encrypt(nonce(before), frame, b"")
            check(f"stream {number}", framed(sealed), V[f"stream_{number}_from_{side}"])


main()
