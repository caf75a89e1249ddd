"""この雛形に顧客の名前と金額を入れて、三通の Word を作って下さい。"""
# --- given
from docx import Document

document = Document()
document.add_heading("請求書", 0)
document.add_paragraph("{{ name }} 様")
table = document.add_table(rows=1, cols=2)
table.cell(0, 0).text, table.cell(0, 1).text = "金額", "{{ total }}円"
document.save("雛形.docx")
# --- task
from docxtpl import DocxTemplate

for name, total in (("山田", "1,200"), ("鈴木", "800"), ("高橋", "15,000")):
    template = DocxTemplate("雛形.docx")
    template.render({"name": name, "total": total})
    template.save(f"請求書_{name}.docx")
# --- check
from docx import Document

for name, total in (("山田", "1,200"), ("鈴木", "800"), ("高橋", "15,000")):
    document = Document(f"請求書_{name}.docx")
    assert [p.text for p in document.paragraphs] == ["請求書", f"{name} 様"]
    assert document.tables[0].cell(0, 1).text == f"{total}円"
print("checked")
