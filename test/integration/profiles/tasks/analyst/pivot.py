"""売上.xlsx を地域と月で集計して、見やすい Excel にして下さい。"""
# --- given
import pandas as pd

rows = [("東京", "1月", 120), ("東京", "2月", 80), ("大阪", "1月", 50), ("大阪", "2月", 70), ("東京", "1月", 30)]
pd.DataFrame(rows, columns=["地域", "月", "売上"]).to_excel("売上.xlsx", index=False, sheet_name="明細")
# --- task
import pandas as pd

table = pd.read_excel("売上.xlsx").pivot_table(index="地域", columns="月", values="売上", aggfunc="sum", margins=True, margins_name="合計")
with pd.ExcelWriter("集計.xlsx", engine="xlsxwriter") as writer:
    table.to_excel(writer, sheet_name="集計")
    sheet, money = writer.sheets["集計"], writer.book.add_format({"num_format": "#,##0", "bold": True})
    sheet.set_column("B:D", 12, money)
    sheet.freeze_panes(1, 1)
print(table)
# --- check
from openpyxl import load_workbook

sheet = load_workbook("集計.xlsx")["集計"]
cells = {row[0].value: [cell.value for cell in row[1:]] for row in sheet.iter_rows(min_row=2)}
assert cells == {"大阪": [50, 70, 120], "東京": [150, 80, 230], "合計": [200, 150, 350]}, cells
assert [cell.value for cell in sheet[1]] == ["地域", "1月", "2月", "合計"]
assert sheet["B2"].number_format == "#,##0" and sheet["B2"].font.bold and sheet.freeze_panes == "B2"
print("checked")
