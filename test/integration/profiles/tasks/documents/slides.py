"""Make a deck of two slides with a chart and give it to me as PowerPoint and PDF."""
# --- task
import subprocess

from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

deck = Presentation()
title = deck.slides.add_slide(deck.slide_layouts[0])
title.shapes.title.text = "四半期の報告"
slide = deck.slides.add_slide(deck.slide_layouts[5])
slide.shapes.title.text = "都市別の売上"
data = CategoryChartData()
data.categories = ["東京", "大阪", "札幌"]
data.add_series("売上", (120, 80, 40))
slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(2), Inches(8), Inches(4.5), data)
deck.save("報告.pptx")
subprocess.run(["soffice", "--headless", "--convert-to", "pdf", "報告.pptx"], check=True, capture_output=True)
# --- check
import pdfplumber
from pptx import Presentation

assert [shape.has_chart for shape in Presentation("報告.pptx").slides[1].shapes] == [False, True]
with pdfplumber.open("報告.pdf") as pdf:
    assert "四半期の報告" in pdf.pages[0].extract_text()
    text = pdf.pages[1].extract_text()
    assert all(word in text for word in ("都市別の売上", "東京", "大阪", "札幌", "120")), text
    # Three bars of one colour.
    assert len(pdf.pages[1].rects) + len(pdf.pages[1].curves) >= 3
print("checked")
