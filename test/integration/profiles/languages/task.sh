echo "$(cat in.txt) $1" > out.txt
echo "args $1|$2"
echo "stdin $(wc -c)"
exit 3
