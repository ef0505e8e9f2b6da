"""Several processes, Ctrl-C, full disks, and what a terminal shows."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_cases import CONFIG, NAME, WEIGHTS, read, run, until
from hub_server import Hub, Repository

from trustformers._engine import Repo


class TestProcesses:
    def test_two_processes_download_once(self, hub: Hub, model: Repository) -> None:
        model.file("model.safetensors").pause = 0.05
        processes = [run("print(Repo(NAME).require('model.safetensors'))") for _ in range(2)]
        outputs = [process.communicate(timeout=20) for process in processes]
        assert [error for _, error in outputs] == ["", ""]
        assert [read(path.strip()) for path, _ in outputs] == [WEIGHTS, WEIGHTS]
        assert len(hub.asked("GET", server="cdn")) == 1

    def test_one_that_is_killed_is_succeeded_by_the_other(
        self, hub: Hub, model: Repository, folder: Path
    ) -> None:
        file = model.file("model.safetensors")
        file.pause = 0.1
        first = run("Repo(NAME).require('model.safetensors')")
        partial = folder / "blobs" / f"{file.etag}.incomplete"
        until(lambda: partial.exists() and partial.stat().st_size > 0)
        second = run("print(Repo(NAME).require('model.safetensors'))")
        until(lambda: len(hub.asked("HEAD")) == 2)
        first.kill()
        first.communicate()
        file.pause = 0
        output, error = second.communicate(timeout=20)
        assert error == ""
        assert read(output.strip()) == WEIGHTS
        ranges = [request.headers.get("range") for request in hub.asked("GET", server="cdn")]
        assert len(ranges) == 2
        assert ranges[1] is not None

    def test_the_lock_is_the_one_of_huggingface_hub(self, hub: Hub, model: Repository, home: Path) -> None:
        locks = home / "hub" / ".locks" / "models--org--model"
        locks.mkdir(parents=True)
        found: list[str] = []
        with (locks / f"{model.file('config.json').etag}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            thread = threading.Thread(target=lambda: found.append(Repo(NAME).require("config.json")))
            thread.start()
            until(lambda: hub.asked("HEAD"))
            time.sleep(0.3)
            assert hub.asked("GET") == []
            fcntl.flock(lock, fcntl.LOCK_UN)
            thread.join(10)
        assert read(found[0]) == CONFIG

    def test_a_disk_that_takes_no_more(self, hub: Hub, model: Repository, folder: Path) -> None:
        script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    Repo(NAME).require("model.safetensors")
except OSError as e:
    print(e.errno, e.filename, e)
"""
        output, error = run(script).communicate(timeout=20)
        assert error == ""
        assert output.startswith(f"{errno.EFBIG} {folder}/blobs/")
        assert "Make room, or set HF_HOME or cache_dir to a larger disk" in output
        assert [path.suffix for path in (folder / "blobs").iterdir()] == [".incomplete"]
        assert read(Repo(NAME).require("model.safetensors")) == WEIGHTS
        assert hub.asked("GET", server="cdn")[-1].headers["range"] == "bytes=50000-"

    def test_a_cache_that_cannot_be_written(self, model: Repository, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(NotADirectoryError) as caught:
            Repo(NAME, cache_dir=tmp_path / "file").file("config.json")
        assert caught.value.errno == errno.ENOTDIR
        assert str(tmp_path / "file") in str(caught.value)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_read_only_cache_serves_what_it_has(self, model: Repository, home: Path) -> None:
        path = Repo(NAME).require("config.json")
        model.commit({"config.json": CONFIG, "other.json": b"{}"}, "v2")
        folders = [Path(at) for at, _, _ in os.walk(home)]
        for folder in folders:
            folder.chmod(0o555)
        try:
            assert Repo(NAME).require("config.json") == path
            assert Repo(NAME).file("vocab.txt") is None
            with pytest.raises(PermissionError, match="Make the folder writable, or set HF_HOME"):
                Repo(NAME, revision="v2").file("other.json")
        finally:
            for folder in folders:
                folder.chmod(0o755)


class TestInterrupts:
    """Ctrl-C is felt wherever a call blocks."""

    def interrupted(self, call: Callable[[], object], when: Callable[[], object]) -> None:
        def press() -> None:
            until(when)
            time.sleep(0.1)
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        pressed: list[float] = []
        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            call()
        assert time.monotonic() - pressed[0] < 2

    def test_during_a_slow_download(self, hub: Hub, model: Repository, folder: Path) -> None:
        file = model.file("model.safetensors")
        file.pause = 0.5
        partial = folder / "blobs" / f"{file.etag}.incomplete"
        call = lambda: Repo(NAME).require("model.safetensors")  # noqa: E731
        self.interrupted(call, lambda: partial.exists() and partial.stat().st_size)
        file.pause = 0
        assert read(call()) == WEIGHTS
        assert hub.asked("GET", server="cdn")[-1].headers["range"] != "bytes=0-"

    def test_while_the_server_says_nothing(self, hub: Hub, model: Repository) -> None:
        model.file("config.json").silence = 5
        self.interrupted(lambda: Repo(NAME).file("config.json"), lambda: hub.asked("HEAD"))

    def test_between_attempts(self, hub: Hub, model: Repository) -> None:
        model.file("config.json").failures = [(503, {"Retry-After": "60"})]
        self.interrupted(lambda: Repo(NAME).file("config.json"), lambda: hub.asked("HEAD"))

    def test_while_another_process_holds_the_lock(self, hub: Hub, model: Repository, home: Path) -> None:
        locks = home / "hub" / ".locks" / "models--org--model"
        locks.mkdir(parents=True)
        with (locks / f"{model.file('config.json').etag}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.interrupted(lambda: Repo(NAME).file("config.json"), lambda: hub.asked("HEAD"))

    def test_what_a_handler_raises_is_what_comes_out(self, model: Repository) -> None:
        def ring(*_: object) -> None:
            raise TimeoutError("enough")

        model.file("config.json").silence = 5
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            with pytest.raises(TimeoutError, match="enough"):
                Repo(NAME).file("config.json")
        finally:
            signal.signal(signal.SIGALRM, before)

    def test_other_threads_go_on(self, model: Repository) -> None:
        model.file("model.safetensors").pause = 0.02
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(Repo(NAME).require("model.safetensors")))
        thread.start()
        ticks = 0
        while thread.is_alive():
            time.sleep(0.01)
            ticks += 1
        assert read(found[0]) == WEIGHTS
        assert ticks > 5, "the GIL was held"


class TestProgress:
    def screen(self, **variables: str) -> str:
        """What the download of a model writes to a terminal."""
        ours, theirs = pty.openpty()
        process = run(
            "Repo(NAME).require('model.safetensors')", stderr=theirs, env={**os.environ, **variables}
        )
        os.close(theirs)
        assert process.wait(20) == 0
        text = b""
        try:
            while piece := os.read(ours, 1 << 16):
                text += piece
        except OSError:
            pass  # Linux ends a terminal that nobody holds any more with an error.
        os.close(ours)
        return text.decode()

    def test_a_terminal_shows_a_bar(self, model: Repository) -> None:
        assert "model.safetensors [" in self.screen(TERM="xterm")

    def test_unless_it_is_not_wanted(self, model: Repository) -> None:
        assert self.screen(TERM="xterm", HF_HUB_DISABLE_PROGRESS_BARS="1") == ""

    def test_nothing_else_does(self, model: Repository) -> None:
        assert run("Repo(NAME).require('model.safetensors')").communicate(timeout=20) == ("", "")
