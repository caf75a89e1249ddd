"""Make an interactive plotly chart, and a PNG of it for my slides."""
# --- task
import plotly.express as px

figure = px.bar(x=["東京", "大阪", "札幌"], y=[120, 80, 40], labels={"x": "都市", "y": "売上"}, title="都市別の売上")
figure.write_html("chart.html")
figure.write_image("chart.png", width=800, height=450, scale=2)
# --- check
from PIL import Image

with Image.open("chart.png") as picture:
    assert picture.size == (1600, 900)
    colors = sorted(picture.convert("RGB").getcolors(1 << 24), reverse=True)
# The bars in plotly's blue, of which there is as much as three bars have.
blue = sum(count for count, (red, green, blue) in colors if (red, green, blue) == (99, 110, 250))
assert 100_000 < blue < 700_000, blue
with open("chart.html", encoding="utf-8") as file:
    html = file.read()
assert "\\u6771\\u4eac" in html or "東京" in html
print("checked")
