"""Reading: every format gives the same rows and the same pictures."""

import csv
import sys

import pytest
from benchmark_files import SMALL, WIDE, encoded
from golden import GOLDEN, picture

from vl2.errors import InputError, MissingExtraError
from vl2.evals.benchmarks.files import read_rows
from vl2.evals.benchmarks.rows import Row
from vl2.processing.images import open_image

IMAGES = GOLDEN / "images"


def sizes(rows):
    return [[open_image(p).size for p in row.pictures] for row in rows]


def test_tsv_with_shared_and_several_pictures(write_tsv):
    rows = [
        {"index": 7, "image": encoded(SMALL), "question": "one\ntwo", "answer": "['a', \"b\"]"},
        {"index": 8, "image": "7", "question": "same picture", "answer": "c"},
        {
            "index": 9,
            "image": f"['{encoded(SMALL)}', '{encoded(WIDE)}']",
            "question": "",
            "answer": "",
        },
    ]
    before = csv.field_size_limit()
    read = list(read_rows(write_tsv("x.tsv", rows)))
    assert csv.field_size_limit() == before
    assert sizes(read) == [[(97, 61)], [(97, 61)], [(97, 61), (640, 480)]]
    assert read[0].text("question") == "one\ntwo"
    assert read[0].texts("answer") == ("a", "b")
    assert read[1].texts("answer") == ("c",)
    assert read[2].find("question", "index") == "9"


def test_tsv_with_paths(write_tsv):
    rows = [{"index": 0, "image_path": SMALL}, {"index": 1, "image_path": f"['{SMALL}', '{WIDE}']"}]
    path = write_tsv("x.tsv", rows)
    assert sizes(read_rows(path, IMAGES)) == [[(97, 61)], [(97, 61), (640, 480)]]


def test_parquet_of_the_hub_in_one_file_and_in_shards(write_parquet, tmp_path):
    data = picture(SMALL).read_bytes()
    rows = [
        {"image": {"bytes": data, "path": None}, "answers": ["a", "b"], "n": i} for i in range(40)
    ]
    read = list(read_rows(write_parquet("x.parquet", rows)))
    assert [row.values["n"] for row in read] == list(range(40))
    assert sizes(read[:1]) == [[(97, 61)]]
    assert read[0].texts("answers") == ("a", "b")
    write_parquet("folder/0.parquet", rows[:2])
    write_parquet("folder/1.parquet", rows[2:3])
    assert [row.values["n"] for row in read_rows(tmp_path / "folder")] == [0, 1, 2]
    assert [row.number for row in read_rows(tmp_path / "folder")] == [1, 2, 3]


def test_numbered_pictures_of_mmmu(write_parquet):
    data = {"bytes": picture(SMALL).read_bytes(), "path": None}
    row = {
        "image_2": data,
        "image_1": {"bytes": picture(WIDE).read_bytes(), "path": None},
        "image_3": None,
    }
    assert sizes(read_rows(write_parquet("x.parquet", [row]))) == [[(640, 480), (97, 61)]]


@pytest.mark.parametrize("wrapped", [False, True, "ids"])
def test_json(write_json, wrapped):
    rows = [{"image": SMALL, "question": "?"}, {"image": f"folder/{WIDE}", "question": "!"}]
    held = {False: rows, True: {"data": rows}, "ids": {"1": rows[0], "2": rows[1]}}[wrapped]
    assert sizes(read_rows(write_json("x.json", held), IMAGES)) == [[(97, 61)], [(640, 480)]]


@pytest.mark.parametrize("column", ["imgname", "image_local_name"])
def test_columns_of_pictures_of_chartqa_and_infovqa(write_json, column):
    """As the files that the benchmarks' authors publish name them."""
    assert sizes(read_rows(write_json("x.json", [{column: SMALL}]), IMAGES)) == [[(97, 61)]]


def test_json_lines(write_json):
    rows = [{"img_path": SMALL, "sent": "a"}, {"image": f"data:image/png;base64,{encoded(SMALL)}"}]
    assert sizes(read_rows(write_json("x.jsonl", rows), IMAGES)) == [[(97, 61)], [(97, 61)]]


def test_escaped_pairs_are_whole_characters(write_json, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(r'{"image": "97x61.png", "question": "\ud83d\ude00?"}')
    (row,) = read_rows(path, IMAGES)
    assert row.question("question") == "😀?"


def test_coco(write_json):
    held = {
        "images": [{"id": 4, "file_name": WIDE, "caption": "of the picture"}],
        "annotations": [{"id": 1, "image_id": 4, "bbox": [1, 2, 3, 4]}],
    }
    (row,) = read_rows(write_json("x.json", held), IMAGES)
    assert row.values["caption"] == "of the picture"
    assert (row.values["bbox"], row.values["box_format"]) == ([1, 2, 3, 4], "xywh")
    held["annotations"][0]["image_id"] = 5
    with pytest.raises(InputError, match="annotation 1 belongs to no picture"):
        list(read_rows(write_json("x.json", held), IMAGES))


def test_refs_apart_from_boxes_are_told_how_to_join(write_json):
    held = {"images": [], "annotations": [], "refs": [{"ref_id": 1, "sentences": [{"sent": "a"}]}]}
    for rows in (held, {"refs": held["refs"]}):
        with pytest.raises(InputError, match=r"apart \(`refs`\): join them, one row a box with"):
            list(read_rows(write_json("x.json", rows)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", "", "is no benchmark file"),
        ("x.json", "{", "is not JSON"),
        ("x.json", "[" * 100_000, "is not JSON"),
        ("x.json", '"x"', "holds no list of rows"),
        ("x.json", "[1]", "no object with named values"),
        ("x.jsonl", "[]\n", "no object with named values"),
        ("x.json", r'[{"question": "\ud800"}]', "surrogates not allowed"),
        ("x.jsonl", '{"question": "?"}\n{"question": "\\udC00"}', "surrogates not allowed"),
        ("x.jsonl", "x\n", "is not JSON, line by line"),
        ("x.tsv", b"a\n\xff", "is not a TSV in UTF-8"),
        ("x.parquet", "x", "is not a whole parquet file"),
    ],
)
def test_broken_files_are_told(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        list(read_rows(path))


def test_absent_things_are_told(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="There is no file"):
        list(read_rows(tmp_path / "absent.tsv"))
    with pytest.raises(InputError, match="is no benchmark file"):
        list(read_rows(tmp_path))
    (tmp_path / "x.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"vl2\[eval\]"):
        list(read_rows(tmp_path / "x.parquet"))


def test_pictures_stay_inside_their_folder(write_json):
    for place in ("../secret.png", "/etc/passwd.png"):
        with pytest.raises(InputError, match="lies outside"):
            list(read_rows(write_json("x.json", [{"image": place}])))
    with pytest.raises(InputError, match="neither base64 nor a path"):
        list(read_rows(write_json("x.json", [{"image": "?" * 80}])))
    with pytest.raises(InputError, match="is int, which is none"):
        list(read_rows(write_json("x.json", [{"image": 3}])))


def test_cells():
    row = Row(3, {"a": None, "b": float("nan"), "c": "", "d": "x", "q": "<image>\nWhat? "})
    assert row.find("a", "b", "c", "d") == "x"
    assert row.find("a", "e") is None
    assert row.question("q") == "What?"
    with pytest.raises(InputError, match="Row 3 has nothing in the column a or e"):
        row.text("a", "e")
    with pytest.raises(InputError, match="Row 3 has nothing"):
        row.texts("a")
    for empty in ([], "[]"):
        with pytest.raises(InputError, match="Row 2 has nothing in the column a"):
            Row(2, {"a": empty}).texts("a")
    assert [Row(1, {"n": n}).whole("n", 7) for n in (3, "2", "2.0", 0, None)] == [3, 2, 2, 0, 7]
    for strange in ("two", "1.5", "inf", [1], {}):
        with pytest.raises(InputError, match="no whole number in the column n"):
            Row(1, {"n": strange}).whole("n", 7)
    hostile = "[__import__('os').abort()]"
    assert Row(1, {"a": hostile}).texts("a") == (hostile,)
    assert Row(1, {"a": "[1, 2]"}).texts("a") == ("1", "2")
    assert Row(1, {"a": "[x" + "[" * 5000 + "]"}).texts("a")
