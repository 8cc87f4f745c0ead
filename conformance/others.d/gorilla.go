// gorilla/websocket, with default settings: without an argument a server that prints `port N`, with a
// URL a client. Both send back what comes.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

func echo(connection *websocket.Conn) {
	defer connection.Close()
	for {
		kind, data, err := connection.ReadMessage()
		if err != nil || connection.WriteMessage(kind, data) != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) > 1 {
		connection, _, err := websocket.DefaultDialer.Dial(os.Args[1], nil)
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
	upgrader := websocket.Upgrader{}
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if connection, err := upgrader.Upgrade(w, r, nil); err == nil {
			echo(connection)
		}
	}))
}
