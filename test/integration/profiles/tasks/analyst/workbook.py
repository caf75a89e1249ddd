"""Merge the sheets of this workbook into one, with a total that Excel computes and a chart."""
# --- given
import pandas as pd

with pd.ExcelWriter("branches.xlsx") as writer:
    for branch, sales in (("本店", [10, 20]), ("支店", [5, 7])):
        pd.DataFrame({"月": [1, 2], "売上": sales}).to_excel(writer, sheet_name=branch, index=False)
# --- task
import pandas as pd
from openpyxl import load_workbook
from openpyxl.chart import BarChart, Reference

sheets = pd.read_excel("branches.xlsx", sheet_name=None)
merged = pd.concat([frame.assign(店=name) for name, frame in sheets.items()])[["店", "月", "売上"]]
merged.to_excel("merged.xlsx", index=False, sheet_name="全店")
book = load_workbook("merged.xlsx")
sheet = book["全店"]
last = sheet.max_row
sheet.cell(last + 1, 1, "合計")
sheet.cell(last + 1, 3, f"=SUM(C2:C{last})")
chart = BarChart()
chart.add_data(Reference(sheet, min_col=3, min_row=1, max_row=last), titles_from_data=True)
sheet.add_chart(chart, "E2")
book.save("merged.xlsx")
# --- check
from openpyxl import load_workbook

sheet = load_workbook("merged.xlsx")["全店"]
assert [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)] == [
    ["本店", 1, 10],
    ["本店", 2, 20],
    ["支店", 1, 5],
    ["支店", 2, 7],
    ["合計", None, "=SUM(C2:C5)"],
]
assert len(sheet._charts) == 1
print("checked")
