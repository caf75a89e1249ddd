"""Convert the CSV to parquet and tell me the top product per store, with SQL."""
# --- given
import pandas as pd

pd.DataFrame({"store": ["a", "a", "b", "b"], "product": ["x", "y", "x", "y"], "sold": [3, 9, 7, 2]}).to_csv("sales.csv", index=False)
# --- task
import duckdb
import polars as pl

pl.read_csv("sales.csv").write_parquet("sales.parquet")
best = duckdb.sql("select store, arg_max(product, sold) as best, max(sold) as sold from 'sales.parquet' group by store order by store")
print(best.df().to_string(index=False))
best.df().to_csv("best.csv", index=False)
# --- check
import pyarrow.parquet as pq

table = pq.read_table("sales.parquet")
assert table.num_rows == 4 and str(table.schema.field("sold").type) == "int64"
with open("best.csv") as file:
    assert file.read() == "store,best,sold\na,y,9\nb,x,7\n"
print("checked")
