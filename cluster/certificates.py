"""TLS: certificates that are given, or temporary ones."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Security

from cluster.options import Fault, Refused
from cluster.scratch import PREFIX, claim, sweep

KEYS_PREFIX = f".{PREFIX}"  # of folders that hold certificates
KEYS = ("ca", "cert", "key")
HOW = 'set [cluster] tls = {ca = "ca.pem", cert = "cert.pem", key = "key.pem"}'


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: the authority that signed all members of the cluster, this member's certificate and its key."""

    ca: str
    cert: str
    key: str

    @classmethod
    def given(cls, tls: Mapping[str, Any] | None, where: str) -> Certificates | None:
        """From a table, else from Dask's own configuration; None without either. Raises Refused."""
        if tls is None:
            tls = {"ca": dask.config.get("distributed.comm.tls.ca-file"),
                   "cert": dask.config.get("distributed.comm.tls.client.cert"),
                   "key": dask.config.get("distributed.comm.tls.client.key")}  # fmt: skip
            if not (tls["ca"] and tls["cert"]):
                return None
            tls["key"] = tls["key"] or tls["cert"]
        allowed = "a table of files in PEM: ca, cert, key"
        wrong = [key for key in {*tls, *KEYS} if key not in KEYS or not isinstance(tls.get(key), str)]
        if wrong:
            raise Refused(Fault(f"tls has wrong or missing keys: {', '.join(sorted(wrong))}", where, allowed, HOW))
        found = cls(*(str(Path(tls[key]).expanduser()) for key in KEYS))
        found.check(where)
        return found

    def check(self, where: str) -> None:
        """Raise Refused for files that are missing or hold no certificates."""
        missing = [path for path in (self.ca, self.cert, self.key) if not Path(path).is_file()]
        if missing:
            raise Refused(*(Fault(f"there is no file {path}", where, "files in PEM", HOW) for path in missing))
        try:
            self.security.get_connection_args("client")
        except (ssl.SSLError, OSError) as error:
            what = f"the certificates cannot be used: {error}"
            raise Refused(Fault(what, where, "an authority, a certificate and its key", "correct the files")) from error

    @property
    def security(self) -> Security:
        """The same for Dask: every member of the cluster shows this certificate."""
        roles = ("client", "scheduler", "worker")
        files = {
            f"tls_{role}_{part}": path for role in roles for part, path in (("cert", self.cert), ("key", self.key))
        }
        return Security(require_encryption=True, tls_ca_file=self.ca, **files)


def texts_of(security: Security) -> dict[str, str]:
    """The files that temporary certificates make, by name: what they hold."""
    return {"ca.pem": security.tls_ca_file, "cert.pem": security.tls_client_cert, "key.pem": security.tls_client_key}


def written(folder: Path) -> tuple[Certificates, Path]:
    """Temporary certificates as files of a new folder, which is returned too and which nobody else can read."""
    sweep(str(folder), KEYS_PREFIX)
    place = Path(tempfile.mkdtemp(prefix=KEYS_PREFIX, dir=folder))
    claim(str(place))
    for name, text in texts_of(Security.temporary()).items():
        (place / name).write_text(text, encoding="utf-8")
    return Certificates(*(str(place / f"{key}.pem") for key in KEYS)), place


def security_of(tls: Mapping[str, Any] | None, where: str) -> Security:
    """Of given certificates, else with temporary ones that exist in memory alone. Raises Refused."""
    found = Certificates.given(tls, where) if tls is not None else None
    return Security.temporary() if found is None else found.security
