"""Merge the two PDFs, number the pages, and also give me the odd pages alone."""
# --- given
from reportlab.pdfgen import canvas

for name, pages in (("first", 3), ("second", 2)):
    drawing = canvas.Canvas(f"{name}.pdf")
    for page in range(pages):
        drawing.drawString(72, 720, f"{name} {page + 1}")
        drawing.showPage()
    drawing.save()
# --- task
import io

from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen import canvas

merged, odd = PdfWriter(), PdfWriter()
for name in ("first.pdf", "second.pdf"):
    merged.append(name)
for number, page in enumerate(merged.pages, 1):
    stamp = io.BytesIO()
    drawing = canvas.Canvas(stamp)
    drawing.drawString(290, 30, f"- {number} -")
    drawing.save()
    page.merge_page(PdfReader(stamp).pages[0])
    if number % 2 == 1:
        odd.add_page(page)
merged.write("merged.pdf")
odd.write("odd.pdf")
# --- check
import subprocess

def text(name):
    return subprocess.run(["pdftotext", "-layout", name, "-"], capture_output=True, text=True, check=True).stdout.split("\f")[:-1]

merged = [" ".join(page.split()) for page in text("merged.pdf")]
assert merged == ["first 1 - 1 -", "first 2 - 2 -", "first 3 - 3 -", "second 1 - 4 -", "second 2 - 5 -"], merged
assert [" ".join(page.split()) for page in text("odd.pdf")] == [merged[0], merged[2], merged[4]]
subprocess.run(["qpdf", "--check", "merged.pdf"], check=True, capture_output=True)
print("checked")
