"""Small made-up files of every format, with pictures of the goldens."""

import csv
import json

import pytest


@pytest.fixture
def write_tsv(tmp_path):
    """Writes rows as VLMEvalKit's files hold them."""

    def write(name, rows):
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def write_json(tmp_path):
    """Writes JSON, or JSON lines for names that end so."""

    def write(name, held):
        path = tmp_path / name
        lines = [json.dumps(row) for row in held] if name.endswith("jsonl") else [json.dumps(held)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_parquet(tmp_path):
    """Writes rows as the hub's files hold them."""

    def write(name, rows):
        import pyarrow as pa
        from pyarrow import parquet

        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), path)
        return path

    return write
