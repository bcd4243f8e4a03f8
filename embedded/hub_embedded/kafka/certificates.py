"""Certificates for the broker's TLS: a small authority of its own, the broker's, and clients' on request."""

import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub_kernel.clock import SystemClock

_AUTHORITY: Final = "referral-hub local authority"
_VALID, _CLOCK_SKEW = timedelta(days=3650), timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Certificates:
    """The folder ``tls`` of a broker's home: the authority and the broker's certificate, made once."""

    folder: Path

    @classmethod
    def of(cls, home: Path) -> Self:
        """Finds them, or makes them: all or none. Raises OSError if they cannot be written."""
        folder = home / "tls"
        if not folder.exists():
            unfinished = home / "tls.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            _make_authority(unfinished)
            key, certificate = _issued(unfinished, "127.0.0.1")
            _write(unfinished / "server.pem", key + certificate + (unfinished / "ca.pem").read_bytes())
            unfinished.rename(folder)
        return cls(folder)

    @property
    def ca_file(self) -> Path:
        """The authority's certificate, by which a client knows the broker."""
        return self.folder / "ca.pem"

    def client(self, name: str) -> tuple[Path, Path]:
        """A certificate for the client called ``name`` and its key, as files; made anew each time.

        The broker knows this client as ``User:CN=<name>``.
        """
        key, certificate = _issued(self.folder, name)
        certificate_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        _write(certificate_file, certificate)
        _write(key_file, key)
        return certificate_file, key_file


def _issued(folder: Path, name: str) -> tuple[bytes, bytes]:
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101  it is the one _make_authority wrote
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        _builder(name, key.public_key(), authority.subject)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return _pem(key), certificate.public_bytes(serialization.Encoding.PEM)


def _make_authority(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(_AUTHORITY, key.public_key(), _named(_AUTHORITY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "ca.key", _pem(key))
    _write(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _builder(name: str, public_key: ec.EllipticCurvePublicKey, issuer: x509.Name) -> x509.CertificateBuilder:
    now = SystemClock().now()
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
