"""What the hub does not give, what we do not take, and who is shown the token."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hub_cases import NAME, WEIGHTS, read, tree
from hub_server import Hub, Repository

from trustformers._engine import Repo


class TestRefusals:
    def test_no_such_repository(self, hub: Hub, home: Path) -> None:
        for token in (None, "hf_mine"):
            with pytest.raises(
                OSError, match="nobody/nothing is not a local folder and is not a valid model"
            ) as e:
                Repo("nobody/nothing", token=token).file("config.json")
            assert "pass a token" in str(e.value)
        assert not home.exists()

    def test_no_such_revision(self, model: Repository) -> None:
        for revision in ("v9", "0" * 40):
            with pytest.raises(OSError, match=f"{revision} is not a valid git identifier"):
                Repo(NAME, revision=revision).file("config.json")

    def test_no_such_file(self, hub: Hub, model: Repository) -> None:
        assert Repo(NAME).file("vocab.txt") is None
        with pytest.raises(
            OSError, match=r"org/model does not appear to have a file named vocab\.txt"
        ) as caught:
            Repo(NAME).require("vocab.txt")
        assert f"{hub.url}/{NAME}/tree/main" in str(caught.value)

    def test_a_mirror_that_only_says_404(self, model: Repository) -> None:
        model.file("sub/config.json").failures = [(404, {})] * 2
        repo = Repo(NAME)
        with pytest.raises(OSError, match="HTTP 404"):
            repo.file("sub/config.json")
        repo.require("config.json")
        assert repo.file("sub/config.json") is None, "it has shown that it knows the repository"

    @pytest.mark.parametrize("status", [401, 403])
    def test_gated(self, hub: Hub, model: Repository, status: int) -> None:
        model.gate = status
        with pytest.raises(OSError, match="You are trying to access a gated repo") as caught:
            Repo(NAME, token="hf_mine").file("config.json")
        assert f"{hub.url}/{NAME}" in str(caught.value)
        assert "Please log in." in str(caught.value)

    def test_a_bad_token(self, model: Repository) -> None:
        with pytest.raises(OSError, match=r"HTTP 401 .*Invalid credentials.* your token is valid"):
            Repo(NAME, token="bad").file("config.json")

    def test_something_that_is_not_a_hub(self, hub: Hub, model: Repository) -> None:
        for failure in [(200, {"ETag": '"x"'}), (302, {"Location": "https://login.example/"})]:
            model.file("config.json").failures = [failure]
            with pytest.raises(OSError, match=r"lacks a usable X-Repo-Commit header.*HF_ENDPOINT"):
                Repo(NAME).file("config.json")
        model.file("config.json").failures = [(200, {"X-Repo-Commit": "a" * 40})]
        with pytest.raises(OSError, match="lacks a usable ETag header"):
            Repo(NAME).file("config.json")

    def test_redirects_that_go_round(self, hub: Hub, model: Repository) -> None:
        hub.moved = {"a/a": "b/b", "b/b": "a/a"}
        with pytest.raises(OSError, match="We couldn't connect to"):
            Repo("a/a").file("config.json")

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x", "C:/x", "a\0b"])
    def test_file_names_that_lead_outside(
        self, hub: Hub, model: Repository, tmp_path: Path, name: str
    ) -> None:
        for repo in (Repo(NAME), Repo(tmp_path)):
            with pytest.raises(OSError, match="refused the file name"):
                repo.file(name)
        assert hub.connections == 0

    @pytest.mark.parametrize("value", ["../../../evil", "/evil", "a/../b", "..", "\\evil", ""])
    def test_arguments_that_lead_outside(self, hub: Hub, value: str) -> None:
        with pytest.raises(OSError, match="refused the revision"):
            Repo(NAME, revision=value)
        if value:
            with pytest.raises(OSError, match="refused the subfolder"):
                Repo(NAME, subfolder=value)

    @pytest.mark.parametrize("evil", ["../../../../evil", "/evil", "..\\evil", ".."])
    def test_headers_that_lead_outside(self, model: Repository, tmp_path: Path, evil: str) -> None:
        for kind in ("etag", "commit"):
            model.header_override = evil if kind == "commit" else None
            model.file("config.json").etag_override = evil if kind == "etag" else None
            with pytest.raises(OSError, match="lacks a usable"):
                Repo(NAME).file("config.json")
        assert tree(tmp_path) == {}

    def test_a_planted_ref(self, model: Repository, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("outside")
        (folder / "refs").mkdir(parents=True)
        (folder / "snapshots").mkdir()
        (folder / "refs" / "main").write_text("../../../..")
        with pytest.raises(OSError, match="couldn't find it in the cached files"):
            Repo(NAME, local_files_only=True).file("config.json")

    def test_malformed_variables_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in [("HF_ENDPOINT", "huggingface.co"), ("HF_HUB_ETAG_TIMEOUT", "soon")]:
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                with pytest.raises(OSError, match=f'{name} is "{value}"'):
                    Repo(NAME)

    def test_wrong_types(self) -> None:
        with pytest.raises(TypeError, match="token must be a str, a bool or None, not int"):
            Repo(NAME, token=3)
        with pytest.raises(TypeError):
            Repo(3)


class TestToken:
    def sent(self, hub: Hub) -> set[str | None]:
        """What the hub was shown since the last time; the other server must never be shown anything."""
        assert all("authorization" not in request.headers for request in hub.asked(server="cdn"))
        sent = {request.headers.get("authorization") for request in hub.asked(server="hub")}
        hub.requests.clear()
        return sent

    def test_who_is_shown_which_token(
        self, hub: Hub, model: Repository, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fetch(**arguments: str | bool | None) -> set[str | None]:
            shutil.rmtree(home / "hub", ignore_errors=True)
            repo = Repo(NAME, **arguments)
            repo.require("config.json")
            repo.require("model.safetensors")
            assert len(hub.asked("GET", server="cdn")) == 1
            return self.sent(hub)

        assert fetch() == {None}
        with pytest.raises(OSError, match=r"a token is required \(token=True\)"):
            fetch(token=True)
        home.mkdir(exist_ok=True)
        (home / "token").write_text("hf_file\n")
        assert fetch() == {"Bearer hf_file"}
        assert fetch(token=True) == {"Bearer hf_file"}
        monkeypatch.setenv("HF_TOKEN", "hf_env")
        assert fetch() == {"Bearer hf_env"}
        assert fetch(token="hf_own") == {"Bearer hf_own"}
        assert fetch(token=False) == {None}
        monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        assert fetch() == {None}
        assert fetch(token=True) == {"Bearer hf_env"}

    def test_a_private_repository(self, model: Repository) -> None:
        model.token = "hf_mine"
        with pytest.raises(OSError, match="pass a token"):
            Repo(NAME).require("config.json")
        assert read(Repo(NAME, token="hf_mine").require("model.safetensors")) == WEIGHTS

    def test_a_token_that_would_break_the_header(self, hub: Hub, model: Repository) -> None:
        with pytest.raises(OSError, match="the access token contains characters that no token has") as caught:
            Repo(NAME, token="hf_secret\r\nX-Evil: 1").file("config.json")
        assert "hf_secret" not in str(caught.value)
        assert hub.connections == 0
