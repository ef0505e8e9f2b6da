"""Without a network, behind a proxy, and beside `huggingface_hub`."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from hub_cases import CONFIG, NAME, read, run, tree
from hub_server import Hub, Repository

from trustformers._engine import Repo

OFFLINE: list[tuple[dict[str, str], str]] = [
    ({"HF_HUB_OFFLINE": "1"}, ""),
    ({"TRANSFORMERS_OFFLINE": "yes"}, ""),
    ({}, "local_files_only=True"),
]


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that ends a process with status 97 when it opens a socket or looks up a name."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("trap")
    functions = ["socket(int a, int b, int c)", "getaddrinfo(char *a, char *b, void *c, void *d)"]
    (folder / "trap.c").write_text(
        "".join(f"void _exit(int);\nint {f} {{ _exit(97); }}\n" for f in functions)
    )
    target = folder / "trap.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", target, folder / "trap.c"], check=True)
    return target


class TestOffline:
    @pytest.mark.parametrize(("variables", "argument"), OFFLINE)
    def test_no_socket_is_opened(
        self, hub: Hub, model: Repository, trap: Path, variables: dict[str, str], argument: str
    ) -> None:
        path = Repo(NAME).require("config.json")
        hub.requests.clear()
        script = f"""
repo = Repo(NAME, {argument})
assert repo.require("config.json") == {path!r}
assert repo.commit == {model.main!r}
assert repo.file("generation_config.json") is None
other = Repo("other/model", {argument})
for attempt, name in ((repo.require, "vocab.txt"), (other.file, "config.json")):
    try:
        attempt(name)
    except OSError as e:
        assert "We couldn't connect to" in str(e) and {(argument or next(iter(variables)))!r} in str(e), e
    else:
        raise AssertionError
"""
        process = run(script, env={**os.environ, **variables, "LD_PRELOAD": str(trap)})
        assert (process.communicate(timeout=20)[1], process.returncode) == ("", 0)
        assert hub.requests == []

    def test_the_trap_works(self, model: Repository, trap: Path) -> None:
        process = run("Repo(NAME).file('config.json')", env={**os.environ, "LD_PRELOAD": str(trap)})
        assert process.wait(20) == 97

    @pytest.mark.parametrize(("variables", "argument"), OFFLINE)
    def test_downloads_cannot_be_demanded_and_forbidden(
        self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], argument: str
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(OSError, match="cannot pass force_download=True while"):
            Repo(NAME, force_download=True, local_files_only=bool(argument))

    def test_other_revisions_are_not_offered(self, model: Repository) -> None:
        Repo(NAME).require("config.json")
        with pytest.raises(OSError, match="couldn't find it in the cached files"):
            Repo(NAME, revision="v1", local_files_only=True).file("config.json")


class TestNetwork:
    def test_proxies(self, hub: Hub, model: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        with pytest.raises(OSError, match="HTTPS_PROXY"):
            Repo(NAME).file("config.json")
        assert hub.connections == 0
        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
        assert read(Repo(NAME).require("config.json")) == CONFIG

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
    def test_certificates(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        openssl("req", "-x509", *key, "-subj", "/CN=test root", "-keyout", "ca.key", "-out", "ca.pem")
        names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key"]
        openssl(
            "req", "-x509", *key, *signed, *names, "-subj", "/CN=hub", "-keyout", "hub.key", "-out", "hub.pem"
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "hub.pem", tmp_path / "hub.key")
        hub = Hub(context)
        try:
            hub.add(NAME, {"config.json": CONFIG})
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            with pytest.raises(OSError, match=r"(?s)certificate.*SSL_CERT_FILE"):
                Repo(NAME).file("config.json")
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            assert read(Repo(NAME).require("config.json")) == CONFIG
        finally:
            hub.close()


class TestTogetherWithHuggingfaceHub:
    """Where `huggingface_hub` is installed, each finds what the other has downloaded."""

    FILES = ("config.json", "model.safetensors", "sub/config.json")

    @pytest.fixture(autouse=True)
    def theirs(self) -> None:
        pytest.importorskip("huggingface_hub")

    def download(self, hub: Hub, name: str, cache: Path, **how: bool) -> str:
        from huggingface_hub import hf_hub_download

        return hf_hub_download(NAME, name, cache_dir=cache, endpoint=hub.url, **how)

    def test_both_make_the_same_cache(self, hub: Hub, model: Repository, tmp_path: Path) -> None:
        from huggingface_hub.errors import EntryNotFoundError

        for name in self.FILES:
            Repo(NAME, cache_dir=tmp_path / "ours").require(name)
            self.download(hub, name, tmp_path / "theirs")
        Repo(NAME, cache_dir=tmp_path / "ours").file("vocab.txt")
        with pytest.raises(EntryNotFoundError):
            self.download(hub, "vocab.txt", tmp_path / "theirs")

        def without_locks(root: Path) -> dict[str, str | bytes]:
            # Whether an unused lock stays is up to the version of filelock.
            return {name: content for name, content in tree(root).items() if not name.startswith(".locks")}

        assert without_locks(tmp_path / "ours") == without_locks(tmp_path / "theirs")

    def test_each_finds_the_others_files(self, hub: Hub, model: Repository, tmp_path: Path) -> None:
        ours = [Repo(NAME, cache_dir=tmp_path / "ours").require(name) for name in self.FILES]
        theirs = [self.download(hub, name, tmp_path / "theirs") for name in self.FILES]
        hub.close()
        assert [
            self.download(hub, name, tmp_path / "ours", local_files_only=True) for name in self.FILES
        ] == ours
        repo = Repo(NAME, cache_dir=tmp_path / "theirs", local_files_only=True)
        assert [repo.require(name) for name in self.FILES] == theirs

    def test_names_are_judged_alike(self) -> None:
        from huggingface_hub.utils import HFValidationError, validate_repo_id

        names = [
            "a",
            "a/b",
            "a.b",
            "a/b.git",
            "-a",
            "a-",
            "a/-b",
            "_a",
            "a_",
            ".a",
            "a..b",
            "a--b",
            "a/b/c",
            "a/",
            "é",
        ]
        names += ["a" * 96, "a" * 97, "a" * 96 + "/" + "b" * 96, "a b", "a\n", "0", "-", "_"]
        for name in names:
            try:
                validate_repo_id(name)
            except HFValidationError:
                with pytest.raises(OSError, match="is not a valid model identifier"):
                    Repo(name)
            else:
                assert Repo(name).name == name
