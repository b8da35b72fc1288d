// A Go program that calls itself over and over while its scheduler sends signals: what it gets must be what it sent.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const callers, calls = 16, 25

func answer(writer http.ResponseWriter, request *http.Request) {
	io.WriteString(writer, "hello "+request.URL.Path)
}

func call(address string, path string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && string(body) != "hello "+path {
		err = fmt.Errorf("wrong answer: %q", body)
	}
	return err
}

func main() {
	address := "127.0.0.1:" + os.Args[2]
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Println(err)
		return
	}
	go http.Serve(listener, http.HandlerFunc(answer))
	// Something that never yields, so that the scheduler has to interrupt it.
	go func() {
		for count := 0; ; count++ {
		}
	}()
	var group sync.WaitGroup
	for caller := 0; caller < callers; caller++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for index := 0; index < calls; index++ {
				if err := call(address, fmt.Sprintf("/%d", index)); err != nil {
					fmt.Println(err)
				}
			}
		}()
	}
	group.Wait()
	fmt.Println("end")
}
