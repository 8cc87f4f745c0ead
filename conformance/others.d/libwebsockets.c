/* Echo server of libwebsockets, with default settings: what it hands out is put together to messages,
 * and these go back one after the other. */
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct message {
    struct message *next;
    int kind;
    size_t length;
    unsigned char *bytes; /* behind LWS_PRE */
};

struct connection {
    struct message *first, *last, *open;
};

static void drop(struct message *message)
{
    free(message->bytes);
    free(message);
}

static int echo(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length)
{
    struct connection *connection = user;
    struct message *message;
    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        if (!connection->open) {
            connection->open = calloc(1, sizeof(*message));
            connection->open->kind = lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
        }
        message = connection->open;
        message->bytes = realloc(message->bytes, LWS_PRE + message->length + length + 1);
        memcpy(message->bytes + LWS_PRE + message->length, in, length);
        message->length += length;
        if (!lws_is_final_fragment(wsi))
            return 0;
        connection->open = NULL;
        if (connection->first)
            connection->last->next = message;
        else
            connection->first = message;
        connection->last = message;
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        message = connection->first;
        if (!message)
            return 0;
        if (lws_write(wsi, message->bytes + LWS_PRE, message->length, message->kind) < (int)message->length)
            return -1;
        connection->first = message->next;
        drop(message);
        if (connection->first)
            lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLOSED:
        if (connection->open)
            drop(connection->open);
        while ((message = connection->first)) {
            connection->first = message->next;
            drop(message);
        }
        return 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, length);
    }
}

int main(void)
{
    const struct lws_protocols protocols[] = {
        {"echo", echo, sizeof(struct connection), 0, 0, NULL, 0},
        {NULL, NULL, 0, 0, 0, NULL, 0},
    };
    struct lws_context_creation_info info = {
        .iface = "lo",
        .port = 0,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
    };
    lws_set_log_level(0, NULL);
    struct lws_context *context = lws_create_context(&info);
    struct lws_vhost *vhost = context ? lws_create_vhost(context, &info) : NULL;
    if (!vhost)
        return 1;
    printf("port %d\n", lws_get_vhost_listen_port(vhost));
    fflush(stdout);
    while (lws_service(context, 0) >= 0) {
    }
}
