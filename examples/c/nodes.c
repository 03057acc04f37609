/* A node is asked, where the store lies, for its image, and then to become that image again.
 *
 *   cc nodes.c $(pkg-config --cflags --libs libcv) -o nodes && ./nodes /tmp/an-empty-directory
 */
#include <libcv.h>
#include <stdio.h>
#include <stdlib.h>
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

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *root = join(argv[1], "/root"), *address, *secret, *json; /* of a real node it is / */
    if (mkdir(root, 0755)) return 1;
    put(join(root, "/motd"), "of the node\n");

    cv_store *store; /* where the store lies: a server, and a node that it knows */
    cv_server *server;
    must(cv_store_init(join(argv[1], "/store"), &store));
    must(cv_server_start(store, "127.0.0.1:0", NULL, &server));
    must(cv_server_address(server, &address));
    must(cv_node_add(store, "n1", &secret));

    /* On the node: its policy says what it may be asked for, and it asks the server for orders until it is told to end. */
    char *policy = join(argv[1], "/policy.yaml");
    put(policy, join(join("schema: cv.policy/v1\ncapture: {names: [login], root: ", root),
                     join(join("}\nupdate: {images: [login], root: ", root), "}\n")));
    cv_job *node;
    must(cv_node_connect_start(join("http://", address), NULL, secret, policy, join(argv[1], "/state"), &node));
    cv_string_free(address);
    cv_string_free(secret);

    /* Where the store lies again. */
    must(cv_node_ask(store, "n1", "{\"do\":\"capture\",\"name\":\"login\",\"tag\":null,\"exclude\":[]}", 60000, NULL, NULL, &json));
    printf("captured %s\n", json);
    cv_string_free(json);
    put(join(root, "/motd"), "somebody was here\n");
    must(cv_node_ask(store, "n1", "{\"do\":\"update\",\"image\":\"login@1\",\"dry_run\":false,\"protect\":[]}", 60000, NULL, NULL,
                     &json));
    printf("updated %s\n", json);
    cv_string_free(json);
    const char *other = "{\"do\":\"capture\",\"name\":\"other\",\"tag\":null,\"exclude\":[]}";
    if (cv_node_ask(store, "n1", other, 60000, NULL, NULL, &json) != -CV_E_REFUSED) return 1;
    printf("%s\n", cv_last_error()->message);

    must(cv_job_cancel(node));
    must(cv_job_free(node));
    must(cv_server_stop(server, 10000));
    must(cv_server_free(server));
    must(cv_store_free(store));
    return 0;
}
