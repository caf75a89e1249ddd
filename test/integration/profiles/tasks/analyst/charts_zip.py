"""Draw one chart per region and give me all of them in one zip."""
# --- task
import zipfile

import pandas as pd
import seaborn as sns

data = pd.DataFrame({"地域": ["東京"] * 3 + ["大阪"] * 3 + ["札幌"] * 3, "月": [1, 2, 3] * 3, "売上": [3, 5, 4, 2, 2, 6, 1, 3, 2]})
with zipfile.ZipFile("charts.zip", "w") as archive:
    for region, part in data.groupby("地域"):
        axes = sns.lineplot(part, x="月", y="売上", marker="o")
        axes.set_title(f"{region}の売上")
        axes.figure.savefig(f"/tmp/{region}.png")
        axes.figure.clear()
        archive.write(f"/tmp/{region}.png", f"{region}.png")
# --- check
import io
import zipfile

from PIL import Image

with zipfile.ZipFile("charts.zip") as archive:
    assert sorted(archive.namelist()) == ["大阪.png", "札幌.png", "東京.png"]
    pictures = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in archive.namelist()]
# Drawn on, and each otherwise.
assert all(len(picture.getcolors(1 << 20)) > 50 for picture in pictures)
assert len({picture.tobytes() for picture in pictures}) == 3
print("checked")
