"""A model on a loopback hub, and an empty cache to download it into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_cases import CONFIG, NAME, WEIGHTS
from hub_server import Hub, Repository, large

VARIABLES = ("HF_", "HUGGING", "TRANSFORMERS_", "XDG_CACHE", "HTTP", "ALL_PROXY", "NO_PROXY", "SSL_CERT")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and none of the machine's own settings."""
    for name in list(os.environ):
        if name.upper().startswith(VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    yield hub
    hub.close()


@pytest.fixture
def model(hub: Hub) -> Repository:
    files = {"config.json": CONFIG, "model.safetensors": large(WEIGHTS), "sub/config.json": b"{}"}
    return hub.add(NAME, files)


@pytest.fixture
def folder(home: Path) -> Path:
    """The model's folder in the cache."""
    return home / "hub" / "models--org--model"
