"""Does advertising explain sales? Fit a regression and put the coefficients with confidence intervals into Excel."""
# --- task
import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

random = np.random.default_rng(1)
data = pd.DataFrame({"ads": random.uniform(0, 100, 200), "price": random.uniform(5, 10, 200)})
data["sales"] = 20 + 1.5 * data.ads - 4 * data.price + random.normal(0, 5, 200)
model = smf.ols("sales ~ ads + price", data).fit()
result = model.conf_int().rename(columns={0: "low", 1: "high"}).assign(coefficient=model.params)
result.to_excel("coefficients.xlsx")
print(f"R2 = {model.rsquared:.3f}")
# --- check
import pandas as pd

table = pd.read_excel("coefficients.xlsx", index_col=0)
for name, truth in (("ads", 1.5), ("price", -4)):
    assert table.loc[name, "low"] < truth < table.loc[name, "high"], table
print("checked")
