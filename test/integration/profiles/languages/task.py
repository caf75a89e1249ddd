import sys

text = open("in.txt").read().strip()
open("out.txt", "w").write(f"{text} {sys.argv[1]}\n")
print("args", "|".join(sys.argv[1:]))
print("stdin", len(sys.stdin.read()))
sys.exit(3)
