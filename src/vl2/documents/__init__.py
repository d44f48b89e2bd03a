"""Documents: pictures, PDFs and folders of them become text, tables, JSON and boxes.

`sources.find` lists what there is to read, `plan.plan` says which of it is new, a `desk.Desk` reads
one document after another (many at once) into a folder each, and `run.run` does all of it and keeps
the index. A document's folder depends on its bytes and on what is asked, never on when or where it
was read, so work goes on where it was broken off and may be spread over processes.
"""
