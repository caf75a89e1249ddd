"""One real task for every library that the profile adds, run when the image is verified."""

import io
import os
import subprocess
import tempfile
from collections.abc import Callable

CITIES = ["東京", "大阪", "札幌"]
SALES = [120, 80, 40]


def _path(name: str) -> str:
    return os.path.join(tempfile.mkdtemp(), name)


def openpyxl() -> str:
    import pandas as pd
    from openpyxl import load_workbook

    path = _path("売上.xlsx")
    pd.DataFrame({"都市": CITIES, "売上": SALES}).to_excel(path, index=False, sheet_name="一月")
    book = load_workbook(path)
    book["一月"]["C1"] = "=SUM(B2:B4)"
    book.save(path)
    assert pd.read_excel(path, sheet_name="一月")["売上"].sum() == 240
    assert load_workbook(path)["一月"]["C1"].value == "=SUM(B2:B4)"
    return "read and written"


def xlsxwriter() -> str:
    import pandas as pd

    path = _path("chart.xlsx")
    with pd.ExcelWriter(path, engine="xlsxwriter") as writer:
        pd.DataFrame({"都市": CITIES, "売上": SALES}).to_excel(writer, index=False, sheet_name="S")
        chart = writer.book.add_chart({"type": "column"})
        chart.add_series({"categories": "=S!$A$2:$A$4", "values": "=S!$B$2:$B$4"})
        writer.sheets["S"].insert_chart("D2", chart)
    assert pd.read_excel(path)["売上"].tolist() == SALES
    return "a chart"


def xlrd() -> str:
    import xlrd

    try:
        xlrd.open_workbook(file_contents=b"no workbook at all")
    except xlrd.XLRDError as error:
        return str(error)[:40]
    raise AssertionError("nonsense was read")


def pyxlsb() -> str:
    import zipfile

    from pyxlsb import open_workbook

    path = _path("empty.xlsb")
    zipfile.ZipFile(path, "w").close()
    try:
        open_workbook(path)
    except KeyError as error:
        return str(error)[:40]
    raise AssertionError("an empty archive was read")


def pyarrow() -> str:
    import pandas as pd

    frame = pd.DataFrame({"都市": CITIES, "売上": SALES})
    for kind in ("parquet", "feather"):
        path = _path(f"t.{kind}")
        getattr(frame, f"to_{kind}")(path)
        assert getattr(pd, f"read_{kind}")(path).equals(frame)
    return "parquet, feather"


def polars() -> str:
    import polars as pl

    frame = pl.DataFrame({"都市": [*CITIES, "東京"], "売上": [*SALES, 5]})
    assert frame.group_by("都市").agg(pl.col("売上").sum()).filter(pl.col("都市") == "東京")["売上"].item() == 125
    return "grouped"


def duckdb() -> str:
    import duckdb
    import pandas as pd

    sales = pd.DataFrame({"city": CITIES, "n": SALES})
    assert len(sales) == 3
    assert duckdb.sql("select sum(n) from sales where n > 50").fetchone() == (200,)
    return "SQL over a frame"


def tabulate() -> str:
    import pandas as pd

    assert "| 東京" in pd.DataFrame({"都市": CITIES}).to_markdown()
    return "to_markdown"


def seaborn() -> str:
    import pandas as pd
    import seaborn as sns

    path = _path("s.png")
    sns.barplot(pd.DataFrame({"都市": CITIES, "売上": SALES}), x="都市", y="売上").figure.savefig(path)
    assert os.path.getsize(path) > 3000
    return "barplot"


def plotly() -> str:
    """Also kaleido: its browser runs without a network."""
    import plotly.express as px
    from PIL import Image

    path = _path("p.png")
    px.bar(x=CITIES, y=SALES, title="売上").write_image(path)
    with Image.open(path) as picture:
        assert picture.size == (700, 500), picture.size
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20
    return "a picture"


def sklearn() -> str:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    data = load_iris()
    train, test, wanted, kinds = train_test_split(data.data, data.target, random_state=1)
    score = RandomForestClassifier(20, random_state=1).fit(train, wanted).score(test, kinds)
    assert score > 0.9
    return f"{score:.2f}"


def statsmodels() -> str:
    import numpy as np
    import pandas as pd
    import statsmodels.formula.api as smf

    x = np.arange(50.0)
    fitted = smf.ols("y ~ x", pd.DataFrame({"x": x, "y": 3 * x + 1 + np.sin(x)})).fit()
    assert abs(fitted.params["x"] - 3) < 0.05
    return "least squares"


def sympy() -> str:
    import sympy as sp

    x = sp.symbols("x")
    assert sp.integrate(sp.exp(-(x**2)), (x, -sp.oo, sp.oo)) == sp.sqrt(sp.pi)
    return "an integral"


def networkx() -> str:
    import networkx as nx

    graph = nx.path_graph(5)
    assert nx.shortest_path_length(graph, 0, 4) == 4
    assert len(nx.spring_layout(graph)) == 5
    return "a path"


def pillow() -> str:
    from PIL import Image, ImageDraw

    path = _path("a.gif")
    frames = []
    for step in range(4):
        frame = Image.new("RGB", (40, 40), "white")
        ImageDraw.Draw(frame).ellipse([step * 5, 5, step * 5 + 15, 20], fill="red")
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)
    with Image.open(path) as animation:
        assert getattr(animation, "n_frames", 1) == 4
    return "an animation"


def opencv() -> str:
    import cv2
    import numpy as np

    picture = np.zeros((100, 100, 3), np.uint8)
    cv2.rectangle(picture, (20, 20), (80, 80), (255, 255, 255), -1)
    found, _ = cv2.findContours(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    assert cv2.contourArea(found[0]) == 3600
    return "a contour"


def requests() -> str:
    import requests

    try:
        requests.get("https://example.org", timeout=3)
    except requests.exceptions.ConnectionError:
        return "says that there is no network"
    raise AssertionError("there is a network")


def beautifulsoup() -> str:
    """Also html5lib and lxml."""
    import pandas as pd
    from bs4 import BeautifulSoup

    page = "<html><body><table><tr><th>都市</th></tr><tr><td>東京</td></tr></table><p>終わり"
    for parser in ("html.parser", "lxml", "html5lib"):
        assert BeautifulSoup(page, parser).p.text == "終わり"
    assert pd.read_html(io.StringIO(page))[0]["都市"].tolist() == ["東京"]
    return "three parsers"


def lxml() -> str:
    from lxml import etree

    tree = etree.fromstring("<a><b>1</b><b>2</b></a>")
    assert tree.xpath("sum(//b)") == 3
    return "xpath"


def jinja() -> str:
    from jinja2 import Template

    assert Template("{% for c in cities %}{{ c }} {% endfor %}").render(cities=CITIES) == "東京 大阪 札幌 "
    return "a template"


def pyyaml() -> str:
    import yaml

    assert yaml.safe_load(yaml.safe_dump({"都市": CITIES}, allow_unicode=True)) == {"都市": CITIES}
    return "there and back"


def chardet() -> str:
    import chardet

    text = "日本語の文章です。文字コードを当ててください。" * 20
    found = chardet.detect(text.encode("cp932"))["encoding"] or ""
    assert text.encode("cp932").decode(found) == text, found
    return found


def tqdm() -> str:
    code = "from tqdm import tqdm; print(sum(tqdm(range(5))))"
    done = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "10\n" and "5/5" in done.stderr
    return "a bar"


TASKS: dict[str, Callable[[], str]] = {
    "openpyxl": openpyxl,
    "xlsxwriter": xlsxwriter,
    "xlrd": xlrd,
    "pyxlsb": pyxlsb,
    "pyarrow": pyarrow,
    "polars": polars,
    "duckdb": duckdb,
    "tabulate": tabulate,
    "seaborn": seaborn,
    "plotly, kaleido": plotly,
    "scikit-learn": sklearn,
    "statsmodels": statsmodels,
    "sympy": sympy,
    "networkx": networkx,
    "pillow": pillow,
    "opencv-python-headless": opencv,
    "requests": requests,
    "beautifulsoup4, html5lib": beautifulsoup,
    "lxml": lxml,
    "jinja2": jinja,
    "pyyaml": pyyaml,
    "chardet": chardet,
    "tqdm": tqdm,
}
