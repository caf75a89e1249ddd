"""Black out every phone number in this PDF, so that it cannot be copied out either."""
# --- given
from reportlab.pdfgen import canvas

drawing = canvas.Canvas("contacts.pdf")
for line, text in enumerate(("Yamada 03-1234-5678", "Suzuki 06-8765-4321", "Office hours 9-17")):
    drawing.drawString(72, 720 - 40 * line, text)
drawing.save()
# --- task
import re

import pdfplumber
from PIL import ImageDraw

pages = []
with pdfplumber.open("contacts.pdf") as pdf:
    for page in pdf.pages:
        picture = page.to_image(resolution=300).original.convert("RGB")
        for word in page.extract_words():
            if re.fullmatch(r"0\d-\d{4}-\d{4}", word["text"]):
                box = [word[side] * 300 / 72 for side in ("x0", "top", "x1", "bottom")]
                ImageDraw.Draw(picture).rectangle([box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2], fill="black")
        pages.append(picture)
pages[0].save("redacted.pdf", save_all=True, append_images=pages[1:], resolution=300)
# --- check
import subprocess

import pytesseract
from pdf2image import convert_from_path

with open("redacted.pdf", "rb") as file:
    assert b"1234" not in file.read()
assert subprocess.run(["pdftotext", "redacted.pdf", "-"], capture_output=True, text=True).stdout.strip() == ""
seen = pytesseract.image_to_string(convert_from_path("redacted.pdf", dpi=300)[0])
assert "Yamada" in seen and "Office hours" in seen and "1234" not in seen and "8765" not in seen, seen
print("checked")
