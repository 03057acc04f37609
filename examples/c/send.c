/* A node sends its tree to a server, twice: all of it, and then what has changed.
 *
 *   cc send.c $(pkg-config --cflags --libs libcv) -o send && ./send /tmp/an-empty-directory
 */
#include <libcv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void must(int32_t code) {
    if (code == CV_OK) return;
    const cv_error *e = cv_last_error();
    fprintf(stderr, "%s: %s%s%s\n", e->name, e->message, e->hint ? "\n  hint: " : "", e->hint ? e->hint : "");
    exit(e->code);
}

static char *join(const char *before, const char *after) {
    char *text = malloc(4096);
    if (!text || snprintf(text, 4096, "%s%s", before, after) >= 4096) exit(1);
    return text; /* a short program: never freed */
}

static void put(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f)) exit(1);
}

/* On the node: the same capture as into a store of its own. */
static void send_tree(const char *url, const char *token, const char *tree, const char *state) {
    cv_http_options http = {0};
    http.size = sizeof http;
    http.token = token;
    cv_capture_options capture = {0};
    capture.size = sizeof capture;
    capture.state = state;
    cv_store *far;
    char *json;
    must(cv_store_open_http(url, &http, &far));
    must(cv_store_capture(far, tree, "login", &capture, NULL, NULL, &json));
    printf("sent %s\n", json);
    cv_string_free(json);
    must(cv_store_free(far));
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *tree = join(argv[1], "/tree"), *state = join(argv[1], "/state"), *address, *token, *json;
    if (mkdir(tree, 0755)) return 1;
    put(join(tree, "/motd"), "welcome\n");
    put(join(tree, "/issue"), "node\n");

    cv_store *store; /* where the store lies: a server, and a token for each generation that somebody may send */
    cv_server *server;
    must(cv_store_init(join(argv[1], "/store"), &store));
    must(cv_server_start(store, "127.0.0.1:0", NULL, &server));
    must(cv_server_address(server, &address));
    char *url = join("http://", address);
    cv_string_free(address);

    const char *motds[] = {"welcome\n", "welcome back\n"};
    for (int n = 0; n < 2; n++) {
        put(join(tree, "/motd"), motds[n]);
        must(cv_token_create(store, "login", (uint64_t)20 << 30, 3600, &token));
        send_tree(url, token, tree, state);
        cv_string_free(token);
    }
    must(cv_token_list(store, &json));
    printf("tokens %s\n", json);
    cv_string_free(json);
    must(cv_server_stop(server, 10000));
    must(cv_server_free(server));
    must(cv_store_free(store));
    return 0;
}
