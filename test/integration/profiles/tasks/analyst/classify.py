"""Train a classifier, show me the confusion matrix as a picture, and save the model."""
# --- task
import joblib
import matplotlib.pyplot as plt
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_wine(return_X_y=True)
train, test, known, wanted = train_test_split(X, y, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, known)
ConfusionMatrixDisplay.from_estimator(model, test, wanted)
plt.savefig("confusion.png")
plt.close()
joblib.dump(model, "model.joblib")
print(f"accuracy {model.score(test, wanted):.2f}")
# --- check
import joblib
from PIL import Image
from sklearn.datasets import load_wine

X, y = load_wine(return_X_y=True)
assert joblib.load("model.joblib").score(X, y) > 0.95
assert Image.open("confusion.png").size == (640, 480)
print("checked")
