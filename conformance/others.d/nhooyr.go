// nhooyr.io/websocket, with default settings: without an argument a server that prints `port N`, with
// a URL a client. Both send back what comes.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"nhooyr.io/websocket"
)

func echo(connection *websocket.Conn) {
	defer connection.Close(websocket.StatusInternalError, "")
	for {
		kind, data, err := connection.Read(context.Background())
		if err != nil || connection.Write(context.Background(), kind, data) != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) > 1 {
		connection, _, err := websocket.Dial(context.Background(), os.Args[1], nil)
		if err == nil {
			echo(connection)
		}
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if connection, err := websocket.Accept(w, r, nil); err == nil {
			echo(connection)
		}
	}))
}
