package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	text, _ := os.ReadFile("in.txt")
	os.WriteFile("out.txt", []byte(strings.TrimSpace(string(text))+" "+os.Args[1]+"\n"), 0o644)
	fmt.Println("args", strings.Join(os.Args[1:], "|"))
	input, _ := io.ReadAll(os.Stdin)
	fmt.Println("stdin", len(input))
	os.Exit(3)
}
