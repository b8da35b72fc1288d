// The web server under test that the preloaded library does not reach: static, with a fixed answer as long as the other's.
package main

import (
	"io"
	"net/http"
	"os"
	"strings"
)

var answer = strings.Repeat("0123456789abcdef", 4)

func serve(writer http.ResponseWriter, _ *http.Request) {
	io.WriteString(writer, answer)
}

func main() {
	err := http.ListenAndServe(os.Args[1], http.HandlerFunc(serve))
	io.WriteString(os.Stderr, err.Error()+"\n")
	os.Exit(1)
}
