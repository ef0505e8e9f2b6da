"""Connections that break and servers that fail: a file arrives whole or not at all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hub_cases import CONFIG, NAME, WEIGHTS, read
from hub_server import File, Hub, Repository, large

from trustformers._engine import Repo


class TestBrokenConnections:
    def test_a_connection_cut_half_way_is_resumed(self, hub: Hub, model: Repository, folder: Path) -> None:
        file = model.file("model.safetensors")
        file.cuts = [50_000, 30_000]
        assert read(Repo(NAME).require("model.safetensors")) == WEIGHTS
        ranges = [request.headers.get("range") for request in hub.asked("GET", server="cdn")]
        assert ranges == [None, "bytes=50000-", "bytes=80000-"]
        assert [path.name for path in (folder / "blobs").iterdir()] == [file.etag]

    def test_chunked_bodies_too(self, hub: Hub) -> None:
        hub.add(NAME, {"a": large(WEIGHTS, sized=False, cuts=[50_000])})
        assert read(Repo(NAME).require("a")) == WEIGHTS
        assert hub.asked("GET", server="cdn")[-1].headers["range"] == "bytes=50000-"

    def test_a_server_without_ranges_starts_again(self, hub: Hub, model: Repository) -> None:
        file = model.file("model.safetensors")
        file.cuts, file.ranges = [50_000], False
        assert read(Repo(NAME).require("model.safetensors")) == WEIGHTS
        assert len(hub.asked("GET", server="cdn")) == 2

    @pytest.mark.parametrize(
        ("left", "asked"),
        [
            (WEIGHTS[:777], ["bytes=777-"]),
            (WEIGHTS, []),
            (b"rubbish", ["bytes=7-", None]),
            (WEIGHTS + b"more", [None]),
            (b"?" * len(WEIGHTS), [None]),
        ],
        ids=["a part", "all of it", "rubbish", "too much", "other bytes"],
    )
    def test_what_an_earlier_download_left(
        self, hub: Hub, model: Repository, folder: Path, left: bytes, asked: list[str | None]
    ) -> None:
        etag = model.file("model.safetensors").etag
        (folder / "blobs").mkdir(parents=True)
        (folder / "blobs" / f"{etag}.incomplete").write_bytes(left)
        assert read(Repo(NAME).require("model.safetensors")) == WEIGHTS
        assert [request.headers.get("range") for request in hub.asked("GET", server="cdn")] == asked
        assert [path.name for path in (folder / "blobs").iterdir()] == [etag]

    def test_a_range_beyond_the_end(self, hub: Hub, folder: Path) -> None:
        repo = hub.add(NAME, {"a": File(CONFIG, sized=False)})
        (folder / "blobs").mkdir(parents=True)
        (folder / "blobs" / f"{repo.file('a').etag}.incomplete").write_bytes(CONFIG)
        assert read(Repo(NAME).require("a")) == CONFIG

    def test_failures_that_pass(self, hub: Hub, model: Repository) -> None:
        model.file("config.json").failures = [(503, {})]
        assert read(Repo(NAME).require("config.json")) == CONFIG
        model.file("sub/config.json").failures = [(429, {"Retry-After": "0"})]
        assert read(Repo(NAME).require("sub/config.json")) == b"{}"

    def test_a_wait_that_is_too_long_to_ask_for(self, model: Repository) -> None:
        model.file("config.json").failures = [(429, {"Retry-After": "86400", "X-Error-Message": "slow down"})]
        with pytest.raises(OSError, match=r"HTTP 429 .*slow down.* pass a token"):
            Repo(NAME).require("config.json")

    @pytest.mark.parametrize("served", [WEIGHTS[:-1], WEIGHTS + b"!"], ids=["short", "long"])
    def test_a_wrong_size_is_not_kept(self, hub: Hub, folder: Path, served: bytes) -> None:
        for file in (File(WEIGHTS, served=served), large(WEIGHTS, served=served)):
            file.claimed_size = len(WEIGHTS)
            hub.add(NAME, {"a": file})
            with pytest.raises(OSError, match=f"should be of {len(WEIGHTS)} bytes, but {len(served)} came"):
                Repo(NAME).require("a")
            assert list((folder / "blobs").iterdir()) == []
        assert not (folder / "snapshots").exists()

    @pytest.mark.parametrize("served", [WEIGHTS[:-1], WEIGHTS + b"!"], ids=["short", "long"])
    def test_nor_where_no_size_was_announced(self, hub: Hub, folder: Path, served: bytes) -> None:
        hub.add(NAME, {"a": large(WEIGHTS, served=served, sized=False)})
        with pytest.raises(OSError, match="arrived altered: its SHA-256 is"):
            Repo(NAME).require("a")
        assert list((folder / "blobs").iterdir()) == []

    def test_wrong_bytes_of_the_right_size_are_not_kept(self, hub: Hub, folder: Path) -> None:
        hub.add(NAME, {"a": large(WEIGHTS, served=b"?" * len(WEIGHTS))})
        with pytest.raises(OSError, match="arrived altered: its SHA-256 is"):
            Repo(NAME).require("a")
        assert list((folder / "blobs").iterdir()) == []

    def test_a_server_that_says_nothing(self, model: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
        model.file("config.json").silence = 30
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.2")
        started = time.monotonic()
        with pytest.raises(OSError, match="We couldn't connect to"):
            Repo(NAME).require("config.json")
        assert time.monotonic() - started < 10

    def test_a_download_that_stalls_is_resumed(
        self, hub: Hub, model: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.3")
        model.file("model.safetensors").stalls = [1.0]
        assert read(Repo(NAME).require("model.safetensors")) == WEIGHTS
        assert len(hub.asked("GET", server="cdn")) == 2

    def test_a_hub_that_is_not_there(self, hub: Hub) -> None:
        hub.close()
        started = time.monotonic()
        with pytest.raises(
            OSError, match=r"(?s)We couldn't connect to .*Check your internet connection"
        ) as caught:
            Repo(NAME).require("config.json")
        assert hub.url in str(caught.value)
        assert time.monotonic() - started < 10

    def test_a_name_that_does_not_resolve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "1")
        with pytest.raises(OSError, match=r"We couldn't connect to 'http://hub\.invalid'"):
            Repo(NAME).require("config.json")

    @pytest.mark.alone
    def test_the_cache_answers_for_a_hub_that_is_away(self, hub: Hub, model: Repository) -> None:
        path = Repo(NAME).require("config.json")
        Repo(NAME).file("vocab.txt")
        hub.close()
        started = time.monotonic()
        repo = Repo(NAME)
        assert repo.require("config.json") == path
        assert repo.commit == model.main
        assert repo.file("vocab.txt") is None
        assert repo.file("never_asked_for.json") is None
        with pytest.raises(OSError, match="We couldn't connect to"):
            repo.require("model.safetensors")
        assert time.monotonic() - started < 1, "one failure is enough to know"

    def test_and_for_one_in_trouble(self, hub: Hub, model: Repository) -> None:
        path = Repo(NAME).require("config.json")
        model.file("config.json").failures = [(500, {})]
        assert Repo(NAME).require("config.json") == path
        model.token = "now private"
        assert Repo(NAME).require("config.json") == path
        del hub.repos[NAME]
        assert Repo(NAME).require("config.json") == path
        with pytest.raises(OSError, match="is not a valid model identifier"):
            Repo(NAME, force_download=True).require("config.json")
