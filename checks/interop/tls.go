// Go's crypto/tls, under gorilla/websocket: tls_go server, or tls_go client URL... The folder of
// cert.pem and key.pem is in the environment. A line, ok or FAIL, for each end of a connection.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const patience = 20 * time.Second

// Frames are as long, so that records can be of 16 KiB.
const whole = 1 << 16

// How data is cut into records, again and again.
var pieces = []int{1, 1, 2, 17, 100, 1000, 16384}

// shatters writes records of many lengths.
type shatters struct {
	*tls.Conn
	writes int
}

func (s *shatters) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		n := pieces[s.writes%len(pieces)]
		if n > len(data)-written {
			n = len(data) - written
		}
		s.writes++
		n, err := s.Conn.Write(data[written : written+n])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// ends announces the end of data, once the WebSocket is closed, and waits for the other side to
// have done so.
func ends(ws *websocket.Conn) error {
	conn := ws.UnderlyingConn().(*shatters)
	defer conn.Close()
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("where the end was due: %v", err)
	}
	return nil
}

// closed reads to the other side's Close.
func closed(ws *websocket.Conn, code int) error {
	for {
		if _, _, err := ws.ReadMessage(); websocket.IsCloseError(err, code) {
			return ends(ws)
		} else if err != nil {
			return err
		}
	}
}

func report(what string, err error) bool {
	if err != nil {
		fmt.Printf("FAIL %s: %v\n", what, err)
	} else {
		fmt.Printf("ok   %s\n", what)
	}
	return err == nil
}

func converse(url string, roots *x509.CertPool) error {
	dialer := websocket.Dialer{
		WriteBufferSize: whole,
		NetDialTLSContext: func(_ context.Context, network, address string) (net.Conn, error) {
			config := tls.Config{RootCAs: roots, ServerName: "localhost", DynamicRecordSizingDisabled: true}
			conn, err := tls.Dial(network, address, &config)
			return &shatters{Conn: conn}, err
		},
	}
	ws, _, err := dialer.Dial(url, nil)
	if err != nil {
		return err
	}
	ws.SetReadDeadline(time.Now().Add(patience))
	for _, size := range []int{0, 1, 2, 125, 126, 1000, 16384, 65536, 1 << 20} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i % 251)
		}
		text := []byte(strings.Repeat("é", size/2))
		for kind, message := range map[int][]byte{websocket.BinaryMessage: data, websocket.TextMessage: text} {
			if err := ws.WriteMessage(kind, message); err != nil {
				return err
			}
			got, back, err := ws.ReadMessage()
			if err != nil {
				return err
			}
			if got != kind || !bytes.Equal(back, message) {
				return fmt.Errorf("%d bytes come back changed", size)
			}
		}
	}
	goodbye := websocket.FormatCloseMessage(3001, "fertig für heute")
	if err := ws.WriteMessage(websocket.CloseMessage, goodbye); err != nil {
		return err
	}
	return closed(ws, 3001)
}

func echo(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{WriteBufferSize: whole}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		report("go, as server", err)
		return
	}
	ws.SetReadDeadline(time.Now().Add(patience))
	for {
		kind, message, err := ws.ReadMessage()
		if websocket.IsCloseError(err, 3001) {
			report("go, as server: the end is announced", ends(ws))
			return
		}
		if err == nil {
			err = ws.WriteMessage(kind, message)
		}
		if err != nil {
			report("go, as server", err)
			return
		}
	}
}

// listener gives out connections of TLS.
type listener struct {
	net.Listener
	config *tls.Config
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &shatters{Conn: tls.Server(conn, l.config)}, err
}

func serve(folder string) error {
	pair, err := tls.LoadX509KeyPair(folder+"/cert.pem", folder+"/key.pem")
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on", tcp.Addr())
	config := tls.Config{Certificates: []tls.Certificate{pair}, DynamicRecordSizingDisabled: true}
	return http.Serve(listener{tcp, &config}, http.HandlerFunc(echo))
}

func main() {
	folder := os.Getenv("TLS")
	if os.Args[1] == "server" {
		report("go, as server", serve(folder))
		return
	}
	pem, err := os.ReadFile(folder + "/cert.pem")
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	good := true
	for _, url := range os.Args[2:] {
		good = report("go, as client: "+url, converse(url, roots)) && good
	}
	if !good {
		os.Exit(1)
	}
}
