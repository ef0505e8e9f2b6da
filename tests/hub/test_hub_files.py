"""Folders, and downloads that go well."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from hub_cases import CONFIG, NAME, WEIGHTS, read, run, tree
from hub_server import File, Hub, Repository, large

from trustformers._engine import Repo


class TestFolder:
    def test_files_are_where_they_are(self, tmp_path: Path, hub: Hub) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "config.json").write_bytes(CONFIG)
        (tmp_path / "sub" / "config.json").write_bytes(b"{}")
        for name in (tmp_path, str(tmp_path), f"{tmp_path}/"):
            repo = Repo(name)
            assert repo.file("config.json") == os.path.join(name, "config.json")
            assert repo.file("sub/config.json") == os.path.join(name, "sub/config.json")
            assert repo.file("model.safetensors") is None
            assert repo.name == str(name)
            assert repo.commit is None
        assert read(Repo(tmp_path, subfolder="sub").require("config.json")) == b"{}"
        assert read(Repo(tmp_path, subfolder="sub/").require("config.json")) == b"{}"
        assert hub.connections == 0

    def test_a_missing_file_is_named_with_its_folder(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match=r"does not appear to have a file named sub/config\.json") as caught:
            Repo(tmp_path, subfolder="sub").require("config.json")
        assert str(tmp_path) in str(caught.value)

    def test_a_folder_goes_before_a_repository(
        self, hub: Hub, model: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / NAME).mkdir(parents=True)
        (tmp_path / NAME / "config.json").write_bytes(b"local")
        assert read(Repo(NAME).require("config.json")) == b"local"
        assert hub.connections == 0

    def test_names_that_are_neither(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for name in [
            "./missing",
            "/nowhere/at/all",
            "a/b/c",
            "",
            "x--y",
            "a b",
            "../nowhere",
            tmp_path / "missing",
        ]:
            with pytest.raises(OSError, match="is not a local folder and is not a valid model identifier"):
                Repo(name)
        with pytest.raises(OSError, match="it is a file"):
            Repo(tmp_path / "file")

    @pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
    def test_a_path_need_not_be_text(self, tmp_path: Path) -> None:
        folder = os.fsencode(tmp_path) + b"/\xff"
        os.mkdir(folder)
        Path(os.fsdecode(folder), "config.json").write_bytes(CONFIG)
        assert read(Repo(os.fsdecode(folder)).require("config.json")) == CONFIG


class TestDownload:
    def test_the_cache_is_laid_out_as_huggingface_hub_lays_it_out(
        self, hub: Hub, model: Repository, home: Path, folder: Path
    ) -> None:
        repo = Repo(NAME)
        assert (repo.name, repo.commit, hub.connections) == (NAME, None, 0)
        snapshot = folder / "snapshots" / model.main
        assert repo.file("config.json") == str(snapshot / "config.json")
        assert repo.file("model.safetensors") == str(snapshot / "model.safetensors")
        assert repo.file("sub/config.json") == str(snapshot / "sub/config.json")
        assert repo.file("vocab.txt") is None
        assert repo.file("sub/vocab.txt") is None
        assert repo.commit == model.main
        config, weights, sub = (
            model.file(f).etag for f in ("config.json", "model.safetensors", "sub/config.json")
        )
        found = tree(home / "hub")
        assert b"Signature: 8a477f597d28d172789f06886806bc55" in found.pop("CACHEDIR.TAG")
        assert found == {
            f".locks/models--org--model/{config}.lock": b"",
            f".locks/models--org--model/{weights}.lock": b"",
            f".locks/models--org--model/{sub}.lock": b"",
            f"models--org--model/.no_exist/{model.main}/vocab.txt": b"",
            f"models--org--model/.no_exist/{model.main}/sub/vocab.txt": b"",
            f"models--org--model/blobs/{config}": CONFIG,
            f"models--org--model/blobs/{weights}": WEIGHTS,
            f"models--org--model/blobs/{sub}": b"{}",
            "models--org--model/refs/main": model.main.encode(),
            f"models--org--model/snapshots/{model.main}/config.json": f"../../blobs/{config}",
            f"models--org--model/snapshots/{model.main}/model.safetensors": f"../../blobs/{weights}",
            f"models--org--model/snapshots/{model.main}/sub/config.json": f"../../../blobs/{sub}",
        }
        assert (folder / "blobs" / config).stat().st_mode & 0o777 == 0o666 & ~umask()

    def test_what_is_cached_costs_one_question(self, hub: Hub, model: Repository) -> None:
        for _ in range(2):
            repo = Repo(NAME)
            assert read(repo.file("config.json")) == CONFIG
            assert read(repo.file("model.safetensors")) == WEIGHTS
            assert repo.file("vocab.txt") is None
        assert len(hub.asked("GET", "config.json")) == 1
        assert len(hub.asked("GET", server="cdn")) == 1
        assert [r.path for r in hub.asked("HEAD")[3:]] == [f"/{NAME}/resolve/main/config.json"]

    def test_all_files_are_of_one_commit(self, hub: Hub, model: Repository) -> None:
        repo = Repo(NAME)
        first = model.main
        assert read(repo.file("config.json")) == CONFIG
        second = model.commit({"config.json": b"new", "model.safetensors": large(b"new weights")})
        assert read(repo.file("model.safetensors")) == WEIGHTS
        assert repo.commit == first
        newer = Repo(NAME)
        assert read(newer.file("config.json")) == b"new"
        assert newer.commit == second
        assert read(repo.file("config.json")) == CONFIG, "the old snapshot stays"
        for request in hub.asked("GET"):
            assert first in request.path or second in request.path, "a branch might move in between"

    def test_equal_content_is_kept_and_fetched_once(self, hub: Hub, model: Repository, folder: Path) -> None:
        Repo(NAME).require("model.safetensors")
        model.commit({"renamed.safetensors": large(WEIGHTS)})
        assert read(Repo(NAME).require("renamed.safetensors")) == WEIGHTS
        assert len(hub.asked("GET", server="cdn")) == 1
        assert len(list((folder / "blobs").iterdir())) == 1

    @pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", "feature/x", "commit"])
    def test_revisions(self, hub: Hub, model: Repository, folder: Path, revision: str) -> None:
        sha = model.commit({"config.json": b"other"}, "v1.0", "refs/pr/1", "feature/x")
        expected = CONFIG if revision == "main" else b"other"
        given = sha if revision == "commit" else revision
        assert read(Repo(NAME, revision=given).require("config.json")) == expected
        refs = {
            path: text.decode() for path, text in tree(folder / "refs").items() if isinstance(text, bytes)
        }
        assert refs == ({} if revision == "commit" else {revision: model.refs[revision]})
        assert hub.requests[0].path.startswith(f"/{NAME}/resolve/{given.replace('/', '%2F')}/")

    def test_a_commit_never_moves_so_nothing_is_asked(self, hub: Hub, model: Repository) -> None:
        Repo(NAME, revision=model.main).require("config.json")
        assert Repo(NAME, revision=model.main).file("vocab.txt") is None
        asked = len(hub.requests)
        repo = Repo(NAME, revision=model.main)
        assert read(repo.require("config.json")) == CONFIG
        assert repo.file("vocab.txt") is None
        assert len(hub.requests) == asked

    def test_subfolder(self, hub: Hub, model: Repository) -> None:
        repo = Repo(NAME, subfolder="sub")
        assert read(repo.require("config.json")) == b"{}"
        with pytest.raises(OSError, match=r"org/model does not appear to have a file named sub/vocab\.txt"):
            repo.require("vocab.txt")

    def test_cache_dir(self, model: Repository, tmp_path: Path, home: Path) -> None:
        for cache in (tmp_path / "a", str(tmp_path / "b")):
            path = Repo(NAME, cache_dir=cache).require("config.json")
            assert path.startswith(f"{cache}/models--org--model/snapshots/")
        assert not home.exists()

    def test_force_download(self, hub: Hub, model: Repository) -> None:
        path = Path(Repo(NAME).require("model.safetensors"))
        path.resolve().write_bytes(b"damaged")
        assert read(Repo(NAME).require("model.safetensors")) == b"damaged"
        partial = path.resolve().with_suffix(".incomplete")
        partial.write_bytes(b"rubbish")
        assert Repo(NAME, force_download=True).require("model.safetensors") == str(path)
        assert path.read_bytes() == WEIGHTS
        assert all("range" not in request.headers for request in hub.requests)
        assert not partial.exists()

    def test_an_empty_file(self, hub: Hub) -> None:
        hub.add(NAME, {"empty": b"", "large": large(b"")})
        assert read(Repo(NAME).require("empty")) == b""
        assert read(Repo(NAME).require("large")) == b""

    def test_a_size_that_is_not_announced(self, hub: Hub) -> None:
        hub.add(NAME, {"a": File(CONFIG, sized=False), "b": large(WEIGHTS, sized=False)})
        assert read(Repo(NAME).require("a")) == CONFIG
        assert read(Repo(NAME).require("b")) == WEIGHTS

    def test_names_are_quoted(self, hub: Hub) -> None:
        files: dict[str, File | bytes] = {"a b#c?d%20.json": CONFIG, "ä/ö.bin": large(WEIGHTS)}
        hub.add(NAME, files)
        assert read(Repo(NAME).require("a b#c?d%20.json")) == CONFIG
        assert read(Repo(NAME).require("ä/ö.bin")) == WEIGHTS

    def test_a_renamed_repository(self, hub: Hub, model: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        hub.moved["old/name"] = NAME
        path = Repo("old/name").require("model.safetensors")
        assert "models--old--name" in path
        assert read(path) == WEIGHTS
        assert all(r.headers.get("authorization") == "Bearer hf_secret" for r in hub.asked(server="hub"))

    def test_without_symlinks(self, model: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
        path = Path(Repo(NAME).require("config.json"))
        assert path.read_bytes() == CONFIG
        assert not path.is_symlink()
        assert list((folder / "blobs").iterdir()) == []
        assert Repo(NAME).require("config.json") == str(path)

    def test_a_link_whose_blob_is_gone(self, model: Repository) -> None:
        path = Path(Repo(NAME).require("config.json"))
        path.resolve().unlink()
        assert read(Repo(NAME).require("config.json")) == CONFIG

    def test_a_forked_child_has_connections_of_its_own(self, hub: Hub, model: Repository) -> None:
        process = run(
            "import os\nrepo = Repo(NAME)\nrepo.require('config.json')\nchild = os.fork()\n"
            "assert repo.require('sub/config.json') and repo.require('model.safetensors')\n"
            "if child: assert os.waitpid(child, 0)[1] == 0"
        )
        assert process.communicate(timeout=20)[1] == ""
        assert process.returncode == 0

    def test_a_repo_is_shared_by_threads(self, hub: Hub, model: Repository) -> None:
        repo = Repo(NAME)
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.append(repo.require("model.safetensors"))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert {read(path) for path in found} == {WEIGHTS}
        assert len(hub.asked("GET", server="cdn")) == 1


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
