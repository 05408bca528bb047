"""A server on this machine that speaks TLS, with a certificate made for the test."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.main import real_clock


@dataclass(frozen=True, slots=True)
class Tls:
    """A server with a certificate of its own, and what it was sent."""

    url: str
    certificate: Path
    heard: list[bytes] = field(default_factory=list)


@contextlib.asynccontextmanager
async def tls_server(directory: Path, *, ends: datetime, date: str | None = None) -> AsyncIterator[Tls]:
    """Answer 401 to everything, over TLS on this machine."""
    certificate, key = made(directory, ends)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            told = date or format_datetime(real_clock(), usegmt=True)
            head = f"HTTP/1.1 401 Unauthorized\r\nDate: {told}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            writer.write(head.encode())
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        yield Tls(f"https://127.0.0.1:{port}", certificate, heard)


def made(directory: Path, ends: datetime) -> tuple[Path, Path]:
    """Write a certificate of this machine's address, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made_out = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=400))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = directory / "tls.pem", directory / "tls.key"
    pem.write_bytes(made_out.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, private
