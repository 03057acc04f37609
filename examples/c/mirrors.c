/* A store that is handed out, a mirror that follows, a node that reads from both, and goes on with the one that is left.
 *
 *   cc mirrors.c $(pkg-config --cflags --libs libcv) -o mirrors && ./mirrors /tmp/an-empty-directory
 */
#include <libcv.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *const ANY = "127.0.0.1:0"; /* any port of this machine */

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

static char *join(const char *before, const char *between, const char *after) {
    char *text = malloc(4096);
    if (!text || snprintf(text, 4096, "%s%s%s", before, between, after) >= 4096) exit(1);
    return text; /* a short program: never freed */
}

static char *url_of(const cv_server *server) {
    char *address;
    must(cv_server_address(server, &address));
    char *url = join("http://", "", address);
    say("serving at", address);
    return url;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *top = argv[1], *tree = join(top, "/", "tree"), *json;
    if (mkdir(tree, 0755)) return 1;
    FILE *f = fopen(join(tree, "/", "motd"), "w");
    if (!f || fputs("welcome\n", f) < 0 || fclose(f)) return 1;
    cv_store *store, *far;
    must(cv_store_init(join(top, "/", "store"), &store));
    cv_capture_options capture = {0};
    capture.size = sizeof capture;
    capture.state = join(top, "/", "state");
    must(cv_store_capture(store, tree, "node", &capture, NULL, NULL, &json));
    say("captured", json);

    cv_server *origin, *mirror; /* the mirror listens when it has all and has compared all of it */
    must(cv_server_start(store, ANY, NULL, &origin));
    char *url = url_of(origin);
    must(cv_server_mirror(join(top, "/", "mirror"), ANY, url, NULL, NULL, NULL, NULL, &mirror));

    const char *mirrors[] = {join(url_of(mirror), "", "=2")}; /* a node asks both, and believes neither */
    cv_http_options http = {0};
    http.size = sizeof http;
    http.mirrors = mirrors;
    http.mirror_count = 1;
    cv_image *image;
    must(cv_store_open_http(url, &http, &far));
    must(cv_store_image(far, "node", &image));
    must(cv_image_extract(image, join(top, "/", "first"), NULL, NULL, NULL, &json));
    say("extracted", json);

    must(cv_server_stop(origin, 10000)); /* it finishes what it does, and goes; one is enough */
    must(cv_image_extract(image, join(top, "/", "second"), NULL, NULL, NULL, &json));
    say("extracted", json);
    must(cv_server_metrics(mirror, &json));
    say("of the mirror", json);
    must(cv_server_stop(mirror, 10000));
    must(cv_server_free(origin));
    must(cv_server_free(mirror));
    must(cv_image_free(image));
    must(cv_store_free(far));
    must(cv_store_free(store));
    return 0;
}
