"""A private CA, the server's certificate for 127.0.0.1, and a client's: made once per folder."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DOMAIN = "consul"  # the SDK asks the Query Service for flyingduck.service.DOMAIN
VALID_DAYS = 30
NAMES = [
    x509.DNSName("localhost"),
    x509.DNSName(f"flyingduck.service.{DOMAIN}"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
]


def certificates(folder: Path) -> Path:
    """The folder with ca.pem, server.pem/.key and client.pem/.key; what is there already stays."""
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make(folder)
        (folder / "complete").touch()
    return folder


def _make(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Emulator CA")
    authority = _certificate("Emulator CA", key.public_key(), name, key, authority=True)
    _write(folder / "ca.pem", authority)
    for role in ("server", "client"):
        own = ec.generate_private_key(ec.SECP256R1())
        _write(folder / f"{role}.pem", _certificate(role, own.public_key(), name, key))
        path = folder / f"{role}.key"
        path.touch(mode=0o600)
        path.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: str,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    authority: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
