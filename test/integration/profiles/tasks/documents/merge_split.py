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

merged = PdfWriter()
for name in ("first.pdf", "second.pdf"):
    merged.append(name)
for number, page in enumerate(merged.pages, 1):
    stamp = io.BytesIO()
    drawing = canvas.Canvas(stamp)
    drawing.drawString(290, 30, f"- {number} -")
    drawing.save()
    page.merge_page(PdfReader(stamp).pages[0])
merged.write("merged.pdf")
odd = PdfWriter()
for page in PdfReader("merged.pdf").pages[::2]:
    odd.add_page(page)
odd.write("odd.pdf")
# --- check
import subprocess

def text(name):
    return subprocess.run(["pdftotext", "-layout", name, "-"], capture_output=True, text=True, check=True).stdout.split("\f")[:-1]

merged = ["".join(page.split()) for page in text("merged.pdf")]
assert merged == ["first1-1-", "first2-2-", "first3-3-", "second1-4-", "second2-5-"], merged
odd = ["".join(page.split()) for page in text("odd.pdf")]
assert odd == [merged[0], merged[2], merged[4]], odd
subprocess.run(["qpdf", "--check", "merged.pdf"], check=True, capture_output=True)
print("checked")
