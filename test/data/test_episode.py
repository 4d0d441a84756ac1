"""Names of tasks, and folders as people keep them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rlt_ros.data.container import Folder
from rlt_ros.data.episode import slug


def test_tasks_in_any_script_keep_apart() -> None:
    tasks = [
        "插上插头",
        "拔下插头",
        "プラグを差し込む",
        "вставь вилку",
        "ضع القابس",
        "pick 🍎",
        "pick 🍐",
        "",
    ]
    long = "put the plug of the left charger into the socket of the right power strip and "
    tasks += [long + "press it", long + "leave", "turn by +90", "turn by -90"]
    assert len({slug(task) for task in tasks}) == len(tasks)


def test_an_ordinary_sentence_is_its_words() -> None:
    assert slug("Put the plug in!") == slug(" put the plug in ") == "put_the_plug_in"


@given(st.text(max_size=100))
def test_a_task_s_name_is_a_plain_file_name_and_stays_the_same(text: str) -> None:
    name = slug(text)
    assert name.isascii() and name.replace("_", "a").isalnum() and len(name) < 80
    assert slug(name) == name


@given(st.lists(st.text("abcдеж東京🍎", min_size=1, max_size=8), unique_by=str.casefold, min_size=2))
def test_different_words_have_different_names(words: list[str]) -> None:
    assert len({slug(word) for word in words}) == len(words)


def test_folders_that_are_links_are_read_and_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "kept/videos").mkdir(parents=True)
    (tmp_path / "kept/videos/a.mp4").write_bytes(b"1")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/videos").symlink_to(tmp_path / "kept/videos")
    (tmp_path / "set/again").symlink_to(tmp_path / "kept/videos")
    (tmp_path / "set/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    for root in (tmp_path / "set", tmp_path / "link"):
        assert list(Folder(root).files) == ["again/a.mp4", "videos/a.mp4"]
