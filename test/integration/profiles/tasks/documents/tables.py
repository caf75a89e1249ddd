"""Take the table out of this PDF and give it to me as Excel."""
# --- given
from reportlab.lib.pagesizes import A4
from reportlab.platypus import SimpleDocTemplate, Table

rows = [["item", "count", "price"], ["apple", "3", "120"], ["pear", "5", "80"], ["plum", "12", "30"]]
SimpleDocTemplate("order.pdf", pagesize=A4).build([Table(rows, style=[("GRID", (0, 0), (-1, -1), 1, "black")])])
# --- task
import pandas as pd
import pdfplumber

with pdfplumber.open("order.pdf") as pdf:
    head, *rows = pdf.pages[0].extract_table()
frame = pd.DataFrame(rows, columns=head).astype({"count": int, "price": int})
frame["total"] = frame["count"] * frame["price"]
frame.to_excel("order.xlsx", index=False)
# --- check
import pandas as pd

assert pd.read_excel("order.xlsx")["total"].tolist() == [360, 400, 360]
print("checked")
