"""How long are these recordings? Convert them to MP3 and make a table."""
# --- given
from pydub.generators import Sine

for name, seconds in (("a", 2), ("b", 3.5)):
    Sine(440).to_audio_segment(duration=seconds * 1000).export(f"{name}.wav", format="wav")
# --- task
import glob

import pandas as pd
from pydub import AudioSegment

rows = []
for path in sorted(glob.glob("*.wav")):
    sound = AudioSegment.from_wav(path)
    sound.export(path.replace(".wav", ".mp3"), format="mp3")
    rows.append({"file": path, "seconds": len(sound) / 1000})
pd.DataFrame(rows).to_csv("lengths.csv", index=False)
# --- check
import subprocess

with open("lengths.csv") as file:
    assert file.read() == "file,seconds\na.wav,2.0\nb.wav,3.5\n"
for name, seconds in (("a", 2), ("b", 3.5)):
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration,format_name", "-of", "csv=p=0", f"{name}.mp3"]
    kind, length = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(",")
    assert kind == "mp3" and abs(float(length) - seconds) < 0.1, (kind, length)
print("checked")
