import io
import json
import tarfile

import PIL.Image
import pytest

from vl2.errors import InputError
from vl2.train.feeding import open_rows
from vl2.train.rows import BadRowError
from vl2.train.shards import TarRows


def picture(colour):
    written = io.BytesIO()
    PIL.Image.new("RGB", (8, 8), colour).save(written, "PNG")
    return written.getvalue()


def row(question, *images):
    said = [{"role": "user", "content": question}, {"role": "assistant", "content": "yes"}]
    return json.dumps({"messages": said, **({"images": list(images)} if images else {})}).encode()


def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_members_of_a_key_are_one_sample(tmp_path):
    file = shard(
        tmp_path / "a.tar",
        [
            ("deep/1.json", row("<image> and <image>?", "1.png", "0.png")),
            ("deep/1.0.png", picture("red")),
            ("deep/1.1.png", picture("blue")),
            ("deep/2.json", row("<image>?")),
            ("deep/2.png", picture("green")),
            ("deep/2.cls", b"7"),
            ("3.png", picture("white")),
            ("3.txt", b"a white square\n"),
        ],
    )
    rows = TarRows([file])
    assert len(rows) == 3
    one, two, three = (rows(number) for number in range(3))
    assert [image.source for image in one.conversation.images] == [picture("blue"), picture("red")]
    assert two.conversation.images[0].source == picture("green")
    assert three.conversation.messages[-1].content == "a white square"
    assert three.conversation.messages[0].images[0].source == picture("white")
    assert one.name == f"{file}, sample deep/1"


def test_a_key_that_comes_again_is_another_sample(tmp_path):
    """Shards that were joined, each with its own 1 and 2."""
    members = []
    for colour in ("red", "blue"):
        for key in (1, 2):
            members += [(f"{key}.json", row(f"<image> {colour}?")), (f"{key}.png", picture(colour))]
    file = shard(tmp_path / "a.tar", members)
    rows = TarRows([file])
    found = [rows(number).conversation for number in range(len(rows))]
    assert [one.images[0].source for one in found] == [
        picture(colour) for colour in ("red", "red", "blue", "blue")
    ]
    assert ["blue" in one.messages[0].content for one in found] == [False, False, True, True]
    assert [rows.name(number).partition("sample ")[2] for number in range(4)] == [
        *("1", "2", "1 (number 2 of that key)", "2 (number 2 of that key)")
    ]
    assert [rows(number).name for number in range(4)] == [rows.name(number) for number in range(4)]


def test_a_folder_of_shards_is_read_in_the_order_of_names(tmp_path):
    for name in ("b", "a"):
        shard(tmp_path / f"{name}.tar", [(f"{name}.json", row("Is it?"))])
    rows = open_rows(tmp_path)
    assert [rows(number).name.rpartition(" ")[2] for number in range(2)] == ["a", "b"]
    assert len(open_rows(tmp_path / "a.tar")) == 1


BAD = [
    ([("1.json", b"{")], "1"),
    ([("1.json", row("<image>?", "../../etc/passwd"))], "no picture"),
    ([("1.json", row("<image>?", "/etc/x.png"))], "no picture"),
    ([("1.json", row("Is it?")), ("1.png", picture("red"))], "no place"),
    ([("1.json", row("<image><image>?")), ("1.png", picture("red"))], "2 times but 1"),
    ([("1.png", picture("red"))], "needs a .json"),
    ([("1.txt", b"alone")], "needs a .json"),
    ([("1.json", row("Is it?")), ("1.json", row("Is it not?"))], "2 members .json: give each"),
    ([("1.json", row("<image>?")), ("2.cls", b"7"), ("1.png", picture("red"))], "1 times but 0"),
]


@pytest.mark.parametrize(("members", "told"), BAD)
def test_a_bad_sample_is_named(tmp_path, members, told):
    rows = TarRows([shard(tmp_path / "a.tar", members)])
    with pytest.raises(BadRowError, match=told) as caught:
        rows(0)
    assert "a.tar, sample 1" in str(caught.value)


def test_links_are_refused(tmp_path):
    link = tarfile.TarInfo("1.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(InputError, match="no plain file"):
        TarRows([shard(tmp_path / "a.tar", [("1.png", link)])])


def test_names_lead_nowhere(tmp_path):
    """A member called ../x is only a key: nothing is written, nothing outside is read."""
    file = shard(tmp_path / "a.tar", [("../../x.json", row("Is it?"))])
    assert TarRows([file])(0).conversation.messages[0].content == "Is it?"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]


def test_what_is_no_shard_is_told(tmp_path):
    whole = shard(tmp_path / "a.tar", [("1.json", row("Is it?" * 2000))])
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:4000])
    (tmp_path / "text.tar").write_text("no tar" * 200)
    with tarfile.open(tmp_path / "packed.tar", "w:gz"):
        pass
    shard(tmp_path / "empty.tar", [])
    for name in ("cut", "text", "packed", "empty", "absent"):
        with pytest.raises(InputError, match=f"{name}.tar"):
            TarRows([tmp_path / f"{name}.tar"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"no \.tar shards"):
        open_rows(tmp_path / "folder")
