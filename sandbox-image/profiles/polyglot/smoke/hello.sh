echo "hello $1 $(echo '[1, 2]' | jq length)"
