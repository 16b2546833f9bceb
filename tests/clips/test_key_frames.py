"""Key frames as the user names them: which there are, and what their videos are called."""

import pytest
from PIL import Image

from movideo.clips.key_frames import list_images, list_prompts
from movideo.errors import VideoError


def test_pictures_of_a_folder(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "sub/a.webp", "sub/v1.5.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_images(tmp_path)
    assert list(found) == ["a", "b", "sub/a", "sub/v1.5"]
    assert found["sub/a"] == str(tmp_path / "sub" / "a.webp")
    assert list_images(tmp_path / "b.PNG") == {"b": str(tmp_path / "b.PNG")}
    (tmp_path / "b.jpg").touch()
    with pytest.raises(VideoError, match=r"named as that of .*b\.PNG; rename it"):
        list_images(tmp_path)


def test_no_pictures(tmp_path):
    with pytest.raises(VideoError, match="no picture in this folder"):
        list_images(tmp_path)
    with pytest.raises(VideoError, match="no such file or folder"):
        list_images(tmp_path / "none")


def test_prompts_are_named_by_line_and_first_words(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("# animals\nA red fox, running!\n\n  ein Bär \n///\n" + "word " * 30 + "\n")
    assert list_prompts(path) == {
        "00002_a-red-fox-running": "A red fox, running!",
        "00004_ein-bär": "ein Bär",
        "00005": "///",
        "00006_word-word-word-word-word-word-word-word": ("word " * 30).strip(),
    }


def test_prompts_of_tables(tmp_path):
    (tmp_path / "p.csv").write_text('id,prompt\n7,"a dog, wet"\n8,a cat\n')
    (tmp_path / "p.jsonl").write_text('{"prompt": "a dog, wet"}\n{"prompt": "a cat"}\n')
    wanted = {"00001_a-dog-wet": "a dog, wet", "00002_a-cat": "a cat"}
    assert list_prompts(tmp_path / "p.csv") == wanted
    assert list_prompts(tmp_path / "p.jsonl") == wanted


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.txt", b"# nothing\n", "holds no prompt"),
        ("p.txt", b"\xff\xfe\xff", "save it in UTF-8"),
        ("p.csv", b"text\na dog\n", r"p\.csv: no column prompt; .*: text"),
        ("p.jsonl", b'{"prompt": 3}\n', r"p\.jsonl:1: no prompt"),
        ("p.jsonl", b"a dog\n", r"p\.jsonl:1: not JSON"),
        ("p.md", b"a dog\n", r"end it in \.txt"),
    ],
)
def test_what_is_no_list_of_prompts(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=says):
        list_prompts(tmp_path / name)


def test_a_missing_list(tmp_path):
    with pytest.raises(VideoError, match="no such file"):
        list_prompts(tmp_path / "none.txt")
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(VideoError, match="no list of prompts"):
        list_prompts(tmp_path / "a.png")
