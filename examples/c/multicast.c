/* An image is sent to two nodes at once, which write it while it comes. Nobody without the key can add anything.
 *
 *   cc multicast.c $(pkg-config --cflags --libs libcv) -o multicast && ./multicast /tmp/an-empty-directory
 */
#include <libcv.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *const INTERFACE = "lo"; /* of a cluster it is the one that its nodes are on, such as eth0 */

static void must(int32_t code) {
    if (code == CV_OK) return;
    const cv_error *e = cv_last_error();
    fprintf(stderr, "%s: %s%s%s\n", e->name, e->message, e->hint ? "\n  hint: " : "", e->hint ? e->hint : "");
    exit(e->code);
}

static void say(const char *what, char *text) {
    printf("%s %s\n", what, text);
    cv_string_free(text);
}

static char *join(const char *before, const char *after) {
    char *text = malloc(4096);
    if (!text || snprintf(text, 4096, "%s%s", before, after) >= 4096) exit(1);
    return text; /* a short program: never freed */
}

static void put(const char *path, const void *bytes, size_t count) {
    FILE *f = fopen(path, "w");
    if (!f || fwrite(bytes, 1, count, f) != count || fclose(f)) exit(1);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *tree = join(argv[1], "/tree"), *key = join(argv[1], "/key"), secret[32], *json;
    if (mkdir(tree, 0755)) return 1;
    put(join(tree, "/motd"), "welcome\n", 8);
    cv_store *store;
    cv_image *image;
    must(cv_store_init(join(argv[1], "/store"), &store));
    cv_capture_options capture = {0};
    capture.size = sizeof capture;
    capture.state = join(argv[1], "/state");
    must(cv_store_capture(store, tree, "node", &capture, NULL, NULL, &json));
    say("captured", json);
    must(cv_store_image(store, "node", &image));

    FILE *random = fopen("/dev/urandom", "r"); /* what the sender and its nodes share: as openssl rand -hex 32 > key */
    if (!random || fread(secret, 1, sizeof secret, random) != sizeof secret || fclose(random)) return 1;
    put(key, secret, sizeof secret);

    cv_mcast_recv_options receive = {0}; /* each node waits for the image of this name */
    receive.size = sizeof receive;
    receive.name = "node";
    receive.key_file = key;
    cv_job *first, *second;
    must(cv_mcast_recv_start(join(argv[1], "/first"), INTERFACE, &receive, NULL, &first));
    must(cv_mcast_recv_start(join(argv[1], "/second"), INTERFACE, &receive, NULL, &second));

    cv_mcast_send_options send = {0}; /* it begins when both are there */
    send.size = sizeof send;
    send.receivers = 2;
    send.mode = "tag";
    send.key_file = key;
    must(cv_mcast_send(image, INTERFACE, &send, NULL, NULL, &json));
    say("sent", json);
    must(cv_job_result(first, &json));
    say("received", json);
    must(cv_job_result(second, &json));
    say("received", json);
    must(cv_job_free(first));
    must(cv_job_free(second));
    must(cv_image_free(image));
    must(cv_store_free(store));
    return 0;
}
