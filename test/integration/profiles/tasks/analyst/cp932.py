"""This CSV comes out of a Japanese accounting program. Clean it up and give me UTF-8 with totals per customer."""
# --- given
with open("売掛.csv", "w", encoding="cp932", newline="") as file:
    file.write('得意先,日付,金額\r\n㈱山田,2026/04/01,"1,200"\r\n髙橋商店,2026/04/02,300\r\n㈱山田,2026/05/01,"2,000"\r\n')
# --- task
import pandas as pd

frame = pd.read_csv("売掛.csv", encoding="cp932", thousands=",", parse_dates=["日付"])
totals = frame.groupby("得意先", as_index=False)["金額"].sum().sort_values("金額", ascending=False)
totals.to_csv("totals.csv", index=False)
print(totals.to_markdown(index=False))
# --- check
with open("totals.csv", encoding="utf-8") as file:
    assert file.read() == "得意先,金額\n㈱山田,3200\n髙橋商店,300\n"
print("checked")
