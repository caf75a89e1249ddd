"""Animate a bouncing ball as a GIF."""
# --- task
import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter

figure, axes = plt.subplots(figsize=(3, 3))
axes.set(xlim=(0, 1), ylim=(0, 1))
(ball,) = axes.plot([], [], "o", markersize=20)
animation = FuncAnimation(figure, lambda step: ball.set_data([0.5], [abs(1 - step / 6)]), frames=12)
animation.save("ball.gif", writer=PillowWriter(fps=12))
plt.close(figure)
# --- check
from PIL import Image, ImageSequence

with Image.open("ball.gif") as gif:
    frames = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(gif)]
assert len(frames) == 12 and len(set(frames)) > 6
print("checked")
