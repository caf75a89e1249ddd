"""This is a scan. Make it searchable and give me the text."""
# --- given
from PIL import Image, ImageDraw, ImageFont

page = Image.new("RGB", (1240, 1754), "white")
font = ImageFont.truetype("/usr/share/fonts/opentype/ipaexfont-gothic/ipaexg.ttf", 48)
for line, text in enumerate(("請求書", "東京都千代田区", "合計金額 12,000円", "Invoice 2026")):
    ImageDraw.Draw(page).text((120, 150 + 120 * line), text, fill="black", font=font)
page.save("scan.pdf", resolution=150)
# --- task
import subprocess

subprocess.run(["ocrmypdf", "-l", "jpn+eng", "--output-type", "pdf", "--sidecar", "text.txt", "scan.pdf", "searchable.pdf"], check=True, capture_output=True)
with open("text.txt", encoding="utf-8") as file:
    print(file.read())
# --- check
import pdfplumber

with pdfplumber.open("searchable.pdf") as pdf:
    text = "".join(pdf.pages[0].extract_text().split())
for word in ("請求書", "東京都千代田区", "12,000", "Invoice2026"):
    assert word in text, text
print("checked")
