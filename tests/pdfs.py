"""PDFs as tests need them, written by hand: sound ones, broken ones, hostile ones."""

import zlib


def write_pdf(objects, root=1, trailer=""):
    """A PDF of numbered objects (from 1), each bytes or text."""
    body = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    places = []
    for number, item in enumerate(objects, 1):
        places.append(len(body))
        data = item if isinstance(item, bytes) else item.encode("latin-1")
        body += b"%d 0 obj\n" % number + data + b"\nendobj\n"
    start = len(body)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    body += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode()
    body += f"trailer\n<< /Size {len(objects) + 1} /Root {root} 0 R {trailer}>>\n".encode()
    return body + f"startxref\n{start}\n%%EOF\n".encode()


def stream(content, extra=""):
    data = zlib.compress(content if isinstance(content, bytes) else content.encode("latin-1"))
    head = f"<< /Length {len(data)} /Filter /FlateDecode {extra}>>\nstream\n".encode()
    return head + data + b"\nendstream"


def pdf(*pages, size=(595, 842), hidden=False, contents=None, resources="", more=(), trailer=""):
    """A PDF whose pages print lines of text; `contents` draws something else instead.

    Objects after the pages are `more`, numbered from 4 + 2 * pages.
    """
    count = len(pages)
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    box = f"[0 0 {size[0]} {size[1]}]"
    for index, lines in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents {5 + 2 * index} 0 R "
            f"/Resources << /Font << /F 3 0 R >> {resources} >> >>"
        )
        objects.append(stream(contents if contents is not None else _printed(lines, size, hidden)))
    return write_pdf([*objects, *more], trailer=trailer)


def _printed(lines, size, hidden):
    mode = 3 if hidden else 0
    top = size[1] - 60
    words = [
        f"BT /F 18 Tf {mode} Tr 50 {top - 26 * index} Td ({line}) Tj ET"
        for index, line in enumerate(lines)
    ]
    return "\n".join(words)


def encrypted():
    """A PDF that asks for a password, which nobody knows."""
    words = "00" * 32
    lock = f"<< /Filter /Standard /V 1 /R 2 /O <{words}> /U <{words}> /P -4 >>"
    return pdf(["secret"], more=[lock], trailer=f"/Encrypt 6 0 R /ID [<{words}> <{words}>] ")


def drawn_again_and_again(depth=12, times=10):
    """A PDF whose page draws a form that draws a form ten times, and so on: 10 ** 12 squares."""
    first = 6
    forms = []
    for level in range(depth):
        last = level == depth - 1
        inner = "1 1 1 1 re f" if last else "/X Do " * times
        below = "" if last else f"/Resources << /XObject << /X {first + level + 1} 0 R >> >>"
        forms.append(stream(inner, f"/Type /XObject /Subtype /Form /BBox [0 0 600 900] {below} "))
    resources = f"/XObject << /X {first} 0 R >>"
    return pdf([], contents="/X Do", resources=resources, more=forms)


def form(value):
    """A PDF with the word "Name:" and beside it a field, into which somebody wrote."""
    fields = "/Fields [5 0 R] /DR << /Font << /F 6 0 R >> >> /DA (/F 12 Tf 0 g)"
    page = "/MediaBox [0 0 400 200] /Contents 4 0 R /Annots [5 0 R]"
    widget = "/Type /Annot /Subtype /Widget /FT /Tx /T (name) /F 4 /P 3 0 R /DA (/F 12 Tf 0 g)"
    return write_pdf(
        [
            f"<< /Type /Catalog /Pages 2 0 R /AcroForm << {fields} /NeedAppearances true >> >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R {page} /Resources << /Font << /F 6 0 R >> >> >>",
            stream("BT /F 14 Tf 20 150 Td (Name:) Tj ET"),
            f"<< {widget} /V ({value}) /Rect [80 140 300 170] >>",
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ]
    )
