"""Lines that say how far something is."""

from vl2.cli.counting import counting


def test_a_line_counts_things_and_goes(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if there were a terminal
    with counting("looking at", "files", 3) as count:
        count.add()
    shown = capsys.readouterr().err
    assert "looking at" in shown
    assert "1/3" in shown
    assert shown.endswith("\x1b[2K")  # the line is wiped


def test_a_line_may_learn_later_how_many_there_are(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with counting("[quantising] to int8", "MiB") as count:
        count.reach(5, 40)
    assert "[quantising] to int8" in (shown := capsys.readouterr().err)
    assert "5/40" in shown


def test_nothing_is_written_where_nobody_sees_it(monkeypatch, capsys):
    with counting("looking at", "files", 3) as count:
        count.add()
    monkeypatch.setenv("FORCE_COLOR", "1")
    with counting("looking at", "files", 3, quiet=True) as count:
        count.add()
    assert capsys.readouterr().err == ""
