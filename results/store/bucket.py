"""Places in object stores, such as s3://bucket/study.zarr, and how they are asked.

`obstore` speaks to S3, Google Cloud Storage and Azure; endpoint and credentials come from the environment of the
process (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...) and are kept nowhere else. What goes wrong is said in one line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit

from sim.errors import BadInput, Problem, bad, refuse, type_problems

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/+(.*)", re.DOTALL)  # a Path has one slash
ALLOWED = "an address such as s3://bucket/runs/study.zarr"
SETTINGS = ("AWS_", "GOOGLE_", "AZURE_")  # what a client is made from begins so
RETRIES: dict[str, Any] = {  # of one request: some 6 s where nothing listens
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
LIMITS: dict[str, Any] = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
DENIED = {"PermissionDeniedError", "UnauthenticatedError"}
SILENT = ("error sending request", "builder error", "timed out", "connect", "dns error", "credential")


class StoreUnreachable(Exception):
    """A store that does not answer, is not there or may not be read; one line with what to do."""


class StoreSilent(StoreUnreachable):
    """An object store that does not answer, or not any more."""


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """A name in an object store; of a store, what the names of its objects begin with."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    def with_name(self, name: str) -> ObjectPath:
        """Another name beside it."""
        above, slash, _ = self.key.rpartition("/")
        return replace(self, key=f"{above}{slash}{name}")

    def resolve(self) -> ObjectPath:
        """Itself: object stores have no links."""
        return self

    def exists(self) -> bool:
        """Whether a store is there; one whose creation was killed is not."""
        with answered(self):
            some: list[Any] = next(iter(obstore().list(client_of(self), chunk_size=1)), [])
        return bool(some) and not replace(self, key=f"{self.key}/{HALF_MADE}").is_file()

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        return self.head() is not None

    def head(self) -> dict[str, Any] | None:
        """Its ETag, size and time; None where it is not there."""
        with answered(self):
            try:
                found: dict[str, Any] = obstore().head(client_of(self.parent), self.name)
            except FileNotFoundError:
                return None
            return found

    def get(self) -> tuple[bytes, dict[str, Any]]:
        """What the object holds, and its ETag, size and time; raises FileNotFoundError where it is not there."""
        with answered(self):
            found = obstore().get(client_of(self.parent), self.name)
            return bytes(found.bytes()), dict(found.meta)

    def write_bytes(self, data: bytes, mode: Any = "overwrite") -> dict[str, Any]:
        """Put the object, whole or not at all; returns its version.

        mode: "create" raises AlreadyExistsError of obstore where it is there; a version PreconditionError where it is
        another by now, or FileNotFoundError where it is gone.
        """
        with answered(self):
            try:
                found = dict(obstore().put(client_of(self.parent), self.name, data, mode=mode))
            except FileNotFoundError as error:
                if not isinstance(mode, str):
                    raise
                raise _no_bucket(self) from error
        return {key: value for key, value in found.items() if value is not None}

    def read_text(self, encoding: str = "utf-8") -> str:
        """What the object holds."""
        return self.get()[0].decode(encoding)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Put the object, whole or not at all."""
        self.write_bytes(text.encode(encoding))

    def unlink(self, missing_ok: bool = True) -> None:
        """Delete the object; whether it was there, object stores do not say."""
        if not missing_ok and not self.is_file():
            raise FileNotFoundError(str(self))
        with answered(self):
            try:
                obstore().delete(client_of(self.parent), self.name)
            except FileNotFoundError:
                return

    @property
    def parent(self) -> ObjectPath:
        """What its name begins with, up to the last part; the bucket itself has no name."""
        return replace(self, key=self.key.rpartition("/")[0])


type StorePath = Path | ObjectPath

HALF_MADE = "half-made"  # an object that is there while a store is created


def store_path(given: str | Path | ObjectPath) -> StorePath:
    """A store's place as the user named it: a path of this machine, or an address of an object store.

    Raises BadInput for an address that names no store, and for what is neither.
    """
    refuse(type_problems(given, (str, Path, ObjectPath), "store", where="a store", remedy="run a study first",
                         allowed="what run returned, a path, or an address such as s3://..."))  # fmt: skip
    found = ADDRESS.fullmatch(str(given))
    if isinstance(given, ObjectPath) or found is None:
        return given if isinstance(given, ObjectPath) else Path(given)
    scheme, rest = found.groups()
    bucket, _, key = rest.rstrip("/").partition("/")
    where = f"{scheme}://{rest}"
    if "@" in bucket and not scheme.startswith("abfs"):
        raise bad("holds a user or a password", where=f"{scheme}://...@{bucket.rpartition('@')[2]}/{key}",
                  allowed=ALLOWED, remedy="leave it out: credentials come from the environment")  # fmt: skip
    if not bucket or not key:
        raise bad("names no store in the bucket", where=where, allowed=ALLOWED, remedy="add the name of the store")
    if {"", ".", ".."} & set(key.split("/")) or {"?", "#"} & set(where):
        raise bad("is no address of a store", where=where, allowed=ALLOWED, remedy="correct it")
    return ObjectPath(scheme, bucket, key)


def obstore() -> ModuleType:
    """The package; raises BadInput where it is not installed."""
    try:
        import obstore
    except ImportError as error:
        raise bad("an object store needs the package obstore", where="--store", allowed="a folder without it",
                  remedy="pip install panelproof[s3]") from error  # fmt: skip
    return obstore


def client_of(path: ObjectPath) -> Any:
    """obstore's client for the objects whose names begin with a path; made once a process and environment."""
    given = tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith(SETTINGS)))
    return _client(f"{path.scheme}://{path.bucket}/{quote(path.key)}".rstrip("/"), given, os.getpid())


@lru_cache(maxsize=64)
def _client(url: str, given: tuple[tuple[str, str], ...], _process: int) -> Any:
    """given: the settings of the environment, which obstore reads itself."""
    obstore()
    from obstore.store import from_url

    settings = dict(given)
    endpoint = settings.get("AWS_ENDPOINT_URL_S3") or settings.get("AWS_ENDPOINT_URL") or settings.get("AWS_ENDPOINT")
    plain = urlsplit(endpoint or "").scheme == "http"
    allowed = settings.get("AWS_ALLOW_HTTP", "").lower() in {"true", "1", "yes"}
    if plain and not allowed and urlsplit(endpoint or "").hostname not in LOOPBACK:
        raise bad("is not encrypted", where=str(endpoint), allowed="https://, or http:// of this machine",
                  remedy="use https://, or set AWS_ALLOW_HTTP=true in a network that you trust")  # fmt: skip
    make: Any = from_url  # its types know one provider at a time
    try:
        return make(url, client_options={**LIMITS, **({"allow_http": True} if plain else {})}, retry_config=RETRIES)
    except Exception as error:
        raise bad(f"cannot be used: {_brief(error)}", where=url, allowed=ALLOWED,
                  remedy="correct the address or the variables of the environment") from error  # fmt: skip


@contextmanager
def answered(path: ObjectPath) -> Iterator[None]:
    """Raise StoreUnreachable, in one line, for what an object store says or does not say about a path.

    FileNotFoundError, and the refusals of conditional writes, pass.
    """
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _no_bucket(path) from None  # its text is a page long
        raise
    except Exception as error:
        kind = type(error)
        if not kind.__module__.startswith("obstore") or kind.__name__ in {"AlreadyExistsError", "PreconditionError"}:
            raise
        text = str(error)
        if "NoSuchBucket" in text:
            raise _no_bucket(path) from None
        if kind.__name__ in DENIED or re.search(r"\b(401|403) ", text):
            code = next(iter(re.findall(r"<Code>(\w+)</Code>", text)), "")
            what = f"access is denied ({code})" if code else "access is denied"
            remedy = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or their like"
            raise StoreUnreachable(_line(path, what, remedy)) from None
        if any(word in text.partition("\n")[0].lower() for word in SILENT):
            host = next(iter(re.findall(r"https?://[^\s/?]+", text)), "its endpoint")
            remedy = "check the network, credentials and AWS_ENDPOINT_URL"
            raise StoreSilent(_line(path, f"no answer from {host}", remedy)) from None
        said = _line(path, f"the object store answers {_brief(error)}", "correct this and try again")
        raise StoreUnreachable(said) from None


def _no_bucket(path: ObjectPath) -> StoreUnreachable:
    return StoreUnreachable(_line(path, f"there is no bucket {path.bucket}", "make it, or correct the address"))


def _line(path: ObjectPath, what: str, remedy: str) -> str:
    return str(Problem(what, str(path), "a bucket that exists and that you may use", remedy))


def _brief(error: Exception) -> str:
    """The first line of an error, without what stands behind "?" in addresses, which may be a signature."""
    return re.sub(r"\?\S+", "", str(error).partition("\n")[0])[:200]


def refused(path: StorePath, what: str, remedy: str) -> BadInput:
    """What cannot be done to a store in an object store."""
    return bad(what, where=str(path), allowed="a store in a folder", remedy=remedy)
