/* Echo server of CivetWeb, with default settings. It hands out frames, so messages are put together
 * and control frames answered here, as a user of it has to. */
#include <civetweb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct message {
    int opcode;
    size_t length;
    char *bytes;
};

static int connected(const struct mg_connection *connection, void *unused)
{
    mg_set_user_connection_data(connection, calloc(1, sizeof(struct message)));
    return 0;
}

static void ready(struct mg_connection *connection, void *unused) {}

static int data(struct mg_connection *connection, int first, char *bytes, size_t length, void *unused)
{
    struct message *message = mg_get_user_connection_data(connection);
    int opcode = first & 15;
    if (opcode == MG_WEBSOCKET_OPCODE_CONNECTION_CLOSE) {
        mg_websocket_write(connection, opcode, bytes, length < 2 ? 0 : 2);
        return 0;
    }
    if (opcode == MG_WEBSOCKET_OPCODE_PING)
        mg_websocket_write(connection, MG_WEBSOCKET_OPCODE_PONG, bytes, length);
    if (opcode > MG_WEBSOCKET_OPCODE_BINARY)
        return 1;
    if (opcode != MG_WEBSOCKET_OPCODE_CONTINUATION) {
        message->opcode = opcode;
        message->length = 0;
    }
    message->bytes = realloc(message->bytes, message->length + length + 1);
    memcpy(message->bytes + message->length, bytes, length);
    message->length += length;
    if (first & 128)
        mg_websocket_write(connection, message->opcode, message->bytes, message->length);
    return 1;
}

static void closed(const struct mg_connection *connection, void *unused)
{
    struct message *message = mg_get_user_connection_data(connection);
    if (message)
        free(message->bytes);
    free(message);
}

int main(void)
{
    const char *options[] = {"listening_ports", "127.0.0.1:0", NULL};
    struct mg_server_port port;
    mg_init_library(0);
    struct mg_context *context = mg_start(NULL, NULL, options);
    if (!context || mg_get_server_ports(context, 1, &port) != 1)
        return 1;
    mg_set_websocket_handler(context, "/", connected, ready, data, closed, NULL);
    printf("port %d\n", port.port);
    fflush(stdout);
    pause();
}
