// A server of Go's net/http: its version, who asks, an echo, and what an origin answers it.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func through(port string) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		answer, err := http.Get("http://127.0.0.1:" + port + request.URL.Path)
		if err != nil {
			http.Error(writer, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		io.Copy(writer, answer.Body)
	}
}

func main() {
	http.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		if request.URL.Path != "/" {
			http.Error(writer, "missing", http.StatusNotFound)
			return
		}
		fmt.Fprintf(writer, "version %s\n", os.Getenv("VERSION"))
	})
	http.HandleFunc("/peer", func(writer http.ResponseWriter, request *http.Request) {
		fmt.Fprintln(writer, strings.Replace(request.RemoteAddr, ":", " ", 1))
	})
	http.HandleFunc("/echo", func(writer http.ResponseWriter, request *http.Request) { io.Copy(writer, request.Body) })
	http.HandleFunc("/outside", through(os.Getenv("ORIGIN_OUTSIDE")))
	http.HandleFunc("/member", through(os.Getenv("ORIGIN_MEMBER")))
	if err := http.ListenAndServe(os.Getenv("HOST")+":"+os.Getenv("PORT"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
