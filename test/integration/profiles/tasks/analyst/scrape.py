"""Take the price table out of this saved page and give me an Excel file sorted by price."""
# --- given
with open("page.html", "w", encoding="utf-8") as file:
    file.write("<html><body><h1>価格表</h1><table><tr><th>品名</th><th>価格</th></tr><tr><td>りんご</td><td>¥1,200</td></tr><tr><td>みかん</td><td>¥300</td></tr></table><p>税込")
# --- task
import pandas as pd
from bs4 import BeautifulSoup

with open("page.html", encoding="utf-8") as file:
    page = BeautifulSoup(file, "lxml")
rows = [[cell.get_text(strip=True) for cell in row.find_all(["th", "td"])] for row in page.table.find_all("tr")]
frame = pd.DataFrame(rows[1:], columns=rows[0])
frame["価格"] = frame["価格"].str.replace(r"[¥,]", "", regex=True).astype(int)
frame.sort_values("価格").to_excel("価格.xlsx", index=False)
# --- check
import pandas as pd

assert pd.read_excel("価格.xlsx").to_dict("list") == {"品名": ["みかん", "りんご"], "価格": [300, 1200]}
print("checked")
