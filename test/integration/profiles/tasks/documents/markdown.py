"""議事録の Markdown を Word と PDF にして下さい。"""
# --- given
with open("議事録.md", "w", encoding="utf-8") as file:
    file.write("# 議事録\n\n出席: 山田、鈴木\n\n| 議題 | 担当 |\n|---|---|\n| 予算 | 山田 |\n\n- 来週までに確認\n")
# --- task
import subprocess

import markdown
import weasyprint

subprocess.run(["pandoc", "議事録.md", "-o", "議事録.docx"], check=True)
with open("議事録.md", encoding="utf-8") as file:
    html = markdown.markdown(file.read(), extensions=["tables"])
style = "<style>table, td, th { border: 1px solid; border-collapse: collapse }</style>"
weasyprint.HTML(string=style + html).write_pdf("議事録.pdf")
# --- check
import subprocess

from docx import Document

document = Document("議事録.docx")
assert document.paragraphs[0].text == "議事録" and document.tables[0].cell(1, 1).text == "山田"
text = subprocess.run(["pdftotext", "議事録.pdf", "-"], capture_output=True, text=True, check=True).stdout
assert all(word in text for word in ("議事録", "予算", "来週までに確認")), text
print("checked")
