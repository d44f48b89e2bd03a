"""Names of models: the embedded one, the released ones, folders."""

from pathlib import Path

import huggingface_hub
import pytest
from golden import checkpoint
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from vl2.engine import sources
from vl2.engine.sources import RELEASES, find_checkpoint
from vl2.errors import CheckpointError
from vl2.model.released import released_config
from vl2.model.sizes import model_sizes


def test_a_folder() -> None:
    assert find_checkpoint(checkpoint("tiny")) == checkpoint("tiny")
    assert find_checkpoint(str(checkpoint("tiny"))) == checkpoint("tiny")


def test_the_embedded_model_lies_in_the_package(nano: Path) -> None:
    assert find_checkpoint("nano") == nano


def test_a_broken_installation(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sources.importlib.resources, "files", lambda name: tmp_path)
    with pytest.raises(CheckpointError, match="install vl2 again"):
        find_checkpoint("nano")


@pytest.mark.parametrize("name", RELEASES)
def test_a_released_model_is_downloaded(monkeypatch, tmp_path, name) -> None:
    asked = []

    def snapshot(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append((repository, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert find_checkpoint(name) == tmp_path
    ((repository, patterns),) = asked
    assert repository == RELEASES[name].repository
    assert "*.safetensors" in patterns
    assert "*" not in patterns


@pytest.mark.parametrize("name", RELEASES)
def test_download_sizes_are_those_of_the_weights(name) -> None:
    gigabytes = 2 * model_sizes(released_config(name)).total / 1e9
    assert RELEASES[name].gigabytes == pytest.approx(gigabytes, abs=0.1)


def test_offline_and_absent_says_what_to_download_and_from_where(monkeypatch) -> None:
    def offline(repository: str, **_: object) -> str:
        raise LocalEntryNotFoundError("a long story\nabout the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(CheckpointError) as caught:
        find_checkpoint("small")
    said = str(caught.value)
    assert "32.3 GB" in said
    assert "https://huggingface.co/deepseek-ai/deepseek-vl2-small" in said
    assert "hf download deepseek-ai/deepseek-vl2-small" in said
    assert "\n" not in said


def test_the_real_library_offline(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"no connection to huggingface\.co"):
        find_checkpoint("tiny")


def test_a_full_disk(monkeypatch) -> None:
    def full(repository: str, **_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        find_checkpoint("tiny")


def test_a_connection_that_breaks(monkeypatch) -> None:
    def broken(repository: str, **_: object) -> str:
        raise HTTPError("peer closed the connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    with pytest.raises(CheckpointError, match="peer closed the connection"):
        find_checkpoint("tiny")


def test_a_repository_that_does_not_exist(monkeypatch) -> None:
    def unknown(repository: str, **_: object) -> str:
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unknown)
    with pytest.raises(CheckpointError, match="neither a folder here nor a repository"):
        find_checkpoint("someone/something")


@pytest.mark.parametrize(
    "name",
    [
        "huge",
        "",
        "./nowhere",
        "/nowhere/at/all",
        "a/b/c",
        "../up",
        "~nobody-of-this-name",
        "n" * 300,
        "a..b/c",
        "ä/b",
    ],
)
def test_names_of_nothing(name) -> None:
    with pytest.raises(CheckpointError, match=r"There is no model|holds no model"):
        find_checkpoint(name)


def test_a_folder_without_a_model(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        find_checkpoint(tmp_path)


def test_a_file() -> None:
    with pytest.raises(CheckpointError, match="is a file"):
        find_checkpoint(checkpoint("tiny") / "config.json")
