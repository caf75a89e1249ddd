"""This is a scan. Make it searchable and give me the text."""
# --- given
from PIL import Image, ImageDraw, ImageFont

page = Image.new("RGB", (2480, 3508), "white")
font = ImageFont.truetype("/usr/share/fonts/opentype/ipaexfont-gothic/ipaexg.ttf", 90)
for line, text in enumerate(("請求書", "東京都千代田区", "合計金額 4500円", "Invoice 2026")):
    ImageDraw.Draw(page).text((300, 300 + 240 * line), text, fill="black", font=font)
page.save("scan.pdf", resolution=300)
# --- task
import subprocess

subprocess.run(["ocrmypdf", "-l", "jpn+eng", "--tesseract-pagesegmode", "6", "--output-type", "pdf", "--sidecar", "text.txt", "scan.pdf", "searchable.pdf"], check=True, capture_output=True)
with open("text.txt", encoding="utf-8") as file:
    print(file.read())
# --- check
import subprocess

text = subprocess.run(["pdftotext", "searchable.pdf", "-"], capture_output=True, text=True, check=True).stdout
for word in ("東京都千代田区", "合計金額", "Invoice2026"):
    assert word in "".join(text.split()), text
print("checked")
