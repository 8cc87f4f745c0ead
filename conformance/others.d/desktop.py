"""libsoup and Qt WebSockets, with default settings: `desktop.py soup|qt` is a server and prints
`port N`; `desktop.py soup|qt URL` is a client. Both send back what comes.
"""

import sys

library, url = sys.argv[1], (sys.argv[2:] or [None])[0]


def soup():
    import gi

    gi.require_version("Soup", "3.0")
    from gi.repository import GLib, Soup

    loop = GLib.MainLoop()
    alive = []

    def echo(connection):
        def back(connection, kind, data):
            if connection.get_state() == Soup.WebsocketState.OPEN:
                connection.send_message(kind, data)

        alive.append(connection)
        connection.connect("message", back)
        connection.connect("closed", lambda c: loop.quit() if url else alive.remove(c))

    if url:

        def opened(session, result):
            try:
                echo(session.websocket_connect_finish(result))
            except GLib.Error:
                loop.quit()

        session = Soup.Session()
        message = Soup.Message.new("GET", url)
        session.websocket_connect_async(message, None, None, 0, None, opened)
    else:
        server = Soup.Server()
        server.add_websocket_handler(None, None, None, lambda s, m, p, connection, *d: echo(connection))
        server.listen_local(0, Soup.ServerListenOptions.IPV4_ONLY)
        print("port", server.get_uris()[0].get_port(), flush=True)
    loop.run()


def qt():
    from PyQt5.QtCore import QCoreApplication, QUrl
    from PyQt5.QtNetwork import QHostAddress
    from PyQt5.QtWebSockets import QWebSocket, QWebSocketServer

    app = QCoreApplication(sys.argv)
    alive = []

    def echo(connection, over):
        alive.append(connection)
        connection.textMessageReceived.connect(connection.sendTextMessage)
        connection.binaryMessageReceived.connect(connection.sendBinaryMessage)
        connection.disconnected.connect(over)

    if url:
        socket = QWebSocket()
        echo(socket, app.quit)
        socket.error.connect(lambda _: app.quit())
        socket.open(QUrl(url))
    else:
        server = QWebSocketServer("echo", QWebSocketServer.NonSecureMode)

        def accept():
            connection = server.nextPendingConnection()
            echo(connection, lambda: alive.remove(connection))

        server.newConnection.connect(accept)
        server.listen(QHostAddress("127.0.0.1"), 0)
        print("port", server.serverPort(), flush=True)
    app.exec()


soup() if library == "soup" else qt()
