"""How many coins are in this picture? Mark them."""
# --- given
from PIL import Image, ImageDraw

picture = Image.new("RGB", (300, 200), "black")
for x, y in ((40, 40), (120, 60), (220, 50), (80, 140), (200, 150)):
    ImageDraw.Draw(picture).ellipse([x - 25, y - 25, x + 25, y + 25], fill=(200, 180, 60))
picture.save("coins.jpg")
# --- task
import cv2

picture = cv2.imread("coins.jpg")
_, mask = cv2.threshold(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), 60, 255, cv2.THRESH_BINARY)
found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
coins = [contour for contour in found if cv2.contourArea(contour) > 200]
cv2.drawContours(picture, coins, -1, (0, 0, 255), 3)
cv2.imwrite("marked.png", picture)
with open("count.txt", "w") as file:
    file.write(str(len(coins)))
# --- check
import cv2

with open("count.txt") as file:
    assert file.read() == "5"
red = cv2.inRange(cv2.imread("marked.png"), (0, 0, 250), (5, 5, 255))
assert 1500 < cv2.countNonZero(red) < 5000, cv2.countNonZero(red)
print("checked")
