"""Turn this ten-page Word document into a PDF."""
# --- given
from docx import Document

document = Document()
for page in range(10):
    document.add_heading(f"第{page + 1}章 東京の売上", 1)
    document.add_paragraph("売上は順調に伸びています。" * 40)
    table = document.add_table(rows=3, cols=2)
    table.style = "Table Grid"
    table.cell(0, 0).text = "都市"
    document.add_page_break()
document.save("報告.docx")
# --- task
import subprocess

subprocess.run(["soffice", "--headless", "--convert-to", "pdf", "報告.docx"], check=True, capture_output=True)
# --- check
import subprocess

from pypdf import PdfReader

pages = PdfReader("報告.pdf").pages
assert 10 <= len(pages) <= 11, len(pages)
assert "第10章東京の売上" in "".join(pages[9].extract_text().split()), pages[9].extract_text()
fonts = subprocess.run(["pdffonts", "報告.pdf"], capture_output=True, text=True, check=True).stdout
assert "yes" in fonts and ("CJK" in fonts or "IPA" in fonts), fonts
print("checked")
