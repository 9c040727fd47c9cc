"""What is an address of a store, and what is said of those that are not, or that cannot be reached."""

from __future__ import annotations

import builtins
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from object_server import BUCKET

import panelproof as pp
from experiments.cli import run_command
from experiments.run.runner import run
from results.store import bucket
from results.store.bucket import ObjectPath, StoreUnreachable, client_of, store_path
from sim.errors import BadInput
from studies import quick_study

STUDY = '[design]\nkind = "paper"\ncontrols = "none"\n[[estimators]]\nkind = "did"\n'
Say = Callable[..., str]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("s3://bucket/x.zarr", ObjectPath("s3", "bucket", "x.zarr")),
        ("s3://bucket/runs/my study/x.zarr/", ObjectPath("s3", "bucket", "runs/my study/x.zarr")),
        ("gs://bucket/x.zarr", ObjectPath("gs", "bucket", "x.zarr")),
        ("az://container/x.zarr", ObjectPath("az", "container", "x.zarr")),
        ("abfss://c@account.dfs.core.windows.net/x", ObjectPath("abfss", "c@account.dfs.core.windows.net", "x")),
        (Path("s3://bucket/x.zarr"), ObjectPath("s3", "bucket", "x.zarr")),
        (ObjectPath("s3", "bucket", "x.zarr"), ObjectPath("s3", "bucket", "x.zarr")),
        ("runs/x.zarr", Path("runs/x.zarr")),
        ("s3/x.zarr", Path("s3/x.zarr")),
    ],
)
def test_a_place_is_a_path_or_an_address(given: Any, found: Any) -> None:
    assert store_path(given) == found
    assert store_path(str(found)) == found


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("s3://bucket", "names no store in the bucket"),
        ("s3://bucket/", "names no store in the bucket"),
        ("s3://bucket/a//x.zarr", "is no address of a store"),
        ("s3://bucket/../x.zarr", "is no address of a store"),
        ("s3://bucket/x.zarr?versionId=3", "is no address of a store"),
    ],
)
def test_addresses_without_a_store_are_refused(given: str, what: str) -> None:
    with pytest.raises(BadInput, match=f"{what}; allowed: an address such as s3://bucket/runs/study.zarr") as caught:
        store_path(given)
    assert str(caught.value).startswith(given)


def test_a_password_in_an_address_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", "s3://KEY:hidden@bucket/x.zarr"]) == 2
    said = capsys.readouterr().err
    assert "s3://...@bucket/x.zarr; holds a user or a password" in said
    assert "hidden" not in said
    assert "KEY" not in said


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command says that is refused in one line, with nothing written here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bucket, "RETRIES", bucket.RETRIES | {"max_retries": 1, "retry_timeout": timedelta(seconds=5)})
    (tmp_path / "s.toml").write_text(STUDY, encoding="utf-8")

    def say(*command: str) -> str:
        assert run_command(command) == 2, command
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]
        return said

    return say


def test_a_bucket_that_is_not_there(place: ObjectPath, refusal: Say) -> None:
    for command in (["run", "s.toml", "--store"], ["report"], ["store", "verify"], ["store", "info"]):
        said = refusal(*command, "s3://nowhere/x.zarr")
        assert "s3://nowhere/x.zarr; there is no bucket nowhere; allowed: a bucket that exists" in said
        assert said.endswith("make it, or correct the address\n")
    with pytest.raises(StoreUnreachable, match="there is no bucket nowhere"):
        run(quick_study(64), store="s3://nowhere/x.zarr")


def test_nobody_listens(place: ObjectPath, refusal: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for command in (["run", "s.toml", "--store"], ["report"]):
        said = refusal(*command, str(place))
        assert f"{place}; no answer from http://127.0.0.1:{port}" in said
        assert "check the network, credentials and AWS_ENDPOINT_URL" in said


def test_no_credentials_at_all(place: ObjectPath, refusal: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore then asks the machine's own service for some, which here is a port where nobody listens."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    assert "check the network, credentials and AWS_ENDPOINT_URL" in refusal("report", str(place))


def test_plain_http_to_another_machine(place: ObjectPath, refusal: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.example:9000")
    said = refusal("report", str(place))
    assert "http://minio.example:9000; is not encrypted; allowed: https://, or http:// of this machine" in said
    for yes in ("1", "TRUE", "yes"):
        monkeypatch.setenv("AWS_ALLOW_HTTP", yes)
        assert client_of(place) is not None


def test_a_cloud_that_wants_more(refusal: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert "az://container/x.zarr; cannot be used: Generic MicrosoftAzure error: Account must be" in refusal(
        "report", "az://container/x.zarr"
    )


def test_without_obstore(place: ObjectPath, refusal: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *others: Any) -> Any:
        if name.partition(".")[0] == "obstore":
            raise ModuleNotFoundError("No module named 'obstore'")
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", missing)
    for command in (["run", "s.toml", "--store"], ["report"]):
        said = refusal(*command, str(place))
        assert (
            "an object store needs the package obstore; allowed: a folder without it; pip install panelproof[s3]"
            in said
        )


def test_no_store_there(place: ObjectPath, refusal: Say) -> None:
    for command in (["report"], ["store", "verify"], ["store", "hash"], ["store", "pack"]):
        assert f"{place}; no such store" in refusal(*command, str(place))
    with pytest.raises(BadInput, match="no such store"):
        pp.open_store(str(place))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Generic S3 error: 403 Forbidden: <Code>InvalidAccessKeyId</Code>", "access is denied (InvalidAccessKeyId)"),
        ("Generic S3 error: 401 Unauthorized: ", "access is denied; allowed"),
        ("Generic error: GET https://a.b/c?sig=hidden in 3ms: odd\n\nDebug source: sig=hidden", "answers Generic"),
    ],
    ids=["denied", "denied without a code", "signature"],
)
def test_one_line_of_what_obstore_says(text: str, said: str) -> None:
    from obstore.exceptions import GenericError

    with pytest.raises(StoreUnreachable) as caught, bucket.answered(ObjectPath("s3", BUCKET, "x.zarr")):
        raise GenericError(text)
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__
