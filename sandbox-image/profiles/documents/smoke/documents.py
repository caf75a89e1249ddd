"""One real task for every library and program that the profile adds, run when the image is verified."""

import os
import subprocess
import tempfile
from collections.abc import Callable

TITLE = "四半期の報告"
GOTHIC = "/usr/share/fonts/opentype/ipaexfont-gothic/ipaexg.ttf"


def _path(name: str) -> str:
    return os.path.join(tempfile.mkdtemp(), name)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-500:]}{done.stderr[-500:]}"
    return done.stdout


def _word() -> str:
    from docx import Document

    path = _path("report.docx")
    document = Document()
    document.add_heading(TITLE, 0)
    for page in range(10):
        document.add_paragraph(f"第{page + 1}章。売上は順調に伸びています。" * 12)
        table = document.add_table(rows=3, cols=3)
        table.cell(0, 0).text = "都市"
        document.add_page_break()
    document.save(path)
    return path


def _pdf(pages: int = 3) -> str:
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen import canvas

    path = _path("pages.pdf")
    pdfmetrics.registerFont(TTFont("Gothic", GOTHIC))
    drawing = canvas.Canvas(path, pagesize=A4)
    for page in range(pages):
        drawing.setFont("Gothic", 24)
        drawing.drawString(72, 700, f"{TITLE} {page + 1}")
        drawing.showPage()
    drawing.save()
    return path


def word() -> str:
    from docx import Document

    assert Document(_word()).paragraphs[0].text == TITLE
    return "ten pages"


def template() -> str:
    from docx import Document
    from docxtpl import DocxTemplate

    blank, filled = _path("blank.docx"), _path("filled.docx")
    document = Document()
    document.add_paragraph("{{ name }} 様、合計は{{ total }}円です。")
    document.save(blank)
    template = DocxTemplate(blank)
    template.render({"name": "山田", "total": "1,200"})
    template.save(filled)
    assert Document(filled).paragraphs[0].text == "山田 様、合計は1,200円です。"
    return "filled"


def slides() -> str:
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    path = _path("slides.pptx")
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = TITLE
    data = CategoryChartData()
    data.categories = ["東京", "大阪"]
    data.add_series("売上", (3, 5))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(2), Inches(8), Inches(4), data)
    deck.save(path)
    assert any(shape.has_chart for shape in Presentation(path).slides[0].shapes)
    return "a chart"


def libreoffice() -> str:
    """Also poppler: the words are in the result, in order."""
    path = _word()
    folder = os.path.dirname(path)
    _run("soffice", "--headless", "--convert-to", "pdf", "--outdir", folder, path)
    # Between Japanese letters and digits it leaves a little room.
    text = _run("pdftotext", path.replace(".docx", ".pdf"), "-").replace(" ", "")
    assert TITLE in text and "第10章" in text, text[:300]
    fonts = _run("pdffonts", path.replace(".docx", ".pdf"))
    assert "CJK" in fonts or "IPAex" in fonts, fonts
    return "ten pages into a PDF"


def pdf() -> str:
    """pypdf, pdfplumber, pypdfium2, pikepdf, pdf2image, reportlab: merge, split, read, draw."""
    import pdfplumber
    import pikepdf
    import pypdfium2
    from pdf2image import convert_from_path
    from pypdf import PdfReader, PdfWriter

    path, merged = _pdf(), _path("merged.pdf")
    writer = PdfWriter()
    for source in (path, path):
        writer.append(source)
    writer.write(merged)
    assert len(PdfReader(merged).pages) == 6
    with pdfplumber.open(merged) as document:
        assert TITLE in (document.pages[5].extract_text() or "")
    with pikepdf.open(merged) as document:
        del document.pages[1:]
        document.save(path)
    assert len(pypdfium2.PdfDocument(path)) == 1
    assert convert_from_path(path, dpi=50)[0].size[0] > 300
    return "merged and split"


def weasyprint() -> str:
    import markdown
    import weasyprint

    path = _path("page.pdf")
    html = markdown.markdown(f"# {TITLE}\n\n|都市|売上|\n|-|-|\n|東京|3|\n", extensions=["tables"])
    weasyprint.HTML(string=html).write_pdf(path)
    assert "東京" in _run("pdftotext", path, "-")
    return "markdown into a PDF"


def markdown_back() -> str:
    import markdownify

    assert markdownify.markdownify("<h1>見出し</h1><p><b>太字</b></p>", heading_style="ATX").startswith("# 見出し")
    return "HTML into markdown"


def pandoc() -> str:
    source, target = _path("a.md"), _path("a.docx")
    with open(source, "w", encoding="utf-8") as file:
        file.write(f"# {TITLE}\n\n- 一つ\n- 二つ\n")
    _run("pandoc", source, "-o", target)
    assert TITLE in _run("pandoc", target, "-t", "plain")
    return "markdown into docx and back"


def tesseract() -> str:
    """Also pytesseract, English and Japanese."""
    import pytesseract
    from PIL import Image, ImageDraw, ImageFont

    found = []
    for text, language in (("Invoice 2026 total 4500", "eng"), ("請求書の合計金額", "jpn")):
        picture = Image.new("RGB", (900, 140), "white")
        ImageDraw.Draw(picture).text((20, 30), text, fill="black", font=ImageFont.truetype(GOTHIC, 64))
        found.append(pytesseract.image_to_string(picture, lang=language, config="--psm 7").replace(" ", "").strip())
    assert found == ["Invoice2026total4500", "請求書の合計金額"], found
    return ", ".join(found)


def ocrmypdf() -> str:
    from pdf2image import convert_from_path

    scan, searchable = _path("scan.pdf"), _path("searchable.pdf")
    convert_from_path(_pdf(1), dpi=200)[0].save(scan)
    assert TITLE not in _run("pdftotext", scan, "-")
    _run("ocrmypdf", "--language", "jpn", "--output-type", "pdf", "--jobs", "1", scan, searchable)
    text = _run("pdftotext", searchable, "-").replace(" ", "")
    assert "四半期" in text, text
    return "a scan that can be searched"


def qpdf() -> str:
    path, locked = _pdf(), _path("locked.pdf")
    _run("qpdf", "--encrypt", "secret", "secret", "256", "--", path, locked)
    assert "3" in _run("qpdf", "--password=secret", "--show-npages", locked)
    return "encrypted"


def ghostscript() -> str:
    small = _path("small.pdf")
    _run(*"gs -q -dNOPAUSE -dBATCH -sDEVICE=pdfwrite -dPDFSETTINGS=/ebook".split(), f"-sOutputFile={small}", _pdf())
    assert os.path.getsize(small) > 500
    return "rewritten"


def imagemagick() -> str:
    path = _path("a.png")
    _run("convert", "-size", "60x40", "xc:red", path)
    assert _run("identify", "-format", "%wx%h", path) == "60x40"
    return "a picture"


def ffmpeg() -> str:
    """Also pydub and imageio."""
    import imageio.v3 as iio
    import numpy as np
    from pydub import AudioSegment
    from pydub.generators import Sine

    sound = _path("tone.mp3")
    Sine(440).to_audio_segment(duration=1500).export(sound, format="mp3")
    assert abs(len(AudioSegment.from_mp3(sound)) - 1500) < 120
    film, animation = _path("film.mp4"), _path("a.gif")
    source = "testsrc=duration=1:size=160x120:rate=10"
    _run(*"ffmpeg -v error -f lavfi -i".split(), source, "-pix_fmt", "yuv420p", film)
    assert "1.0" in _run("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", film)
    iio.imwrite(animation, [np.full((20, 20, 3), step * 60, np.uint8) for step in range(4)], loop=0)
    assert len(iio.imread(animation)) == 4
    return "sound, a film, an animation"


def exiftool() -> str:
    from PIL import Image

    path = _path("photo.jpg")
    Image.new("RGB", (10, 10)).save(path)
    _run("exiftool", "-q", "-Artist=山田", path)
    assert "山田" in _run("exiftool", "-Artist", path)
    return "read and written"


def fonts() -> str:
    import matplotlib.font_manager as manager

    names = {entry.name for entry in manager.fontManager.ttflist}
    for name in ("Carlito", "Liberation Sans", "IPAexMincho", "Noto Sans CJK JP", "Yu Gothic"):
        assert name in names, name
    assert "Carlito" in _run("fc-match", "Calibri")
    for family, face in (("MS Mincho", "Serif CJK JP"), ("Meiryo", "Sans CJK JP"), ("SimHei", "Sans CJK SC")):
        assert face in _run("fc-match", family), _run("fc-match", family)
    return f"{len(names)} names"


TASKS: dict[str, Callable[[], str]] = {
    "python-docx": word,
    "docxtpl": template,
    "python-pptx": slides,
    "libreoffice, poppler": libreoffice,
    "pypdf, pdfplumber, pypdfium2, pikepdf, pdf2image, reportlab": pdf,
    "weasyprint, markdown": weasyprint,
    "markdownify": markdown_back,
    "pandoc": pandoc,
    "tesseract, pytesseract": tesseract,
    "ocrmypdf": ocrmypdf,
    "qpdf": qpdf,
    "ghostscript": ghostscript,
    "imagemagick": imagemagick,
    "ffmpeg, pydub, imageio": ffmpeg,
    "exiftool": exiftool,
    "fonts": fonts,
}
