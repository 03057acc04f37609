/* Signed versions, a copy of the store, a node that goes from one version to the next, repair, a collection.
 *
 *   cc versions.c $(pkg-config --cflags --libs libcv) -o versions && ./versions /tmp/an-empty-directory
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

static void say(const char *what, char *json) {
    printf("%s %s\n", what, json);
    cv_string_free(json);
}

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f)) exit(1);
}

static char *in(const char *top, const char *name) {
    char *path = malloc(4096);
    if (!path || snprintf(path, 4096, "%s/%s", top, name) >= 4096) exit(1);
    return path; /* a short program: never freed */
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *top = argv[1], *tree = in(top, "tree"), *key = in(top, "site.key"), *node = in(top, "node"), *json;
    if (mkdir(tree, 0755)) return 1;
    must(cv_key_generate(key, &json));
    say("key", json);

    cv_store *plain, *store, *copy, *trusting; /* who captures signs */
    must(cv_store_init(in(top, "store"), &plain));
    must(cv_store_signing(plain, key, &store));
    cv_capture_options options = {0};
    options.size = sizeof options;
    options.state = in(top, "state");
    const char *texts[] = {"one\n", "two\n", "three\n"};
    for (int i = 0; i < 3; i++) {
        write_file(in(top, "tree/motd"), texts[i]);
        must(cv_store_capture(store, tree, "node", &options, NULL, NULL, &json));
        say("captured", json);
    }

    must(cv_store_init(in(top, "copy"), &copy));
    must(cv_store_sync(store, copy, NULL, 0, NULL, NULL, &json));
    say("copied", json);

    const char *keys[] = {in(top, "site.key.pub")}; /* who deploys believes signed releases only */
    must(cv_store_trusting(copy, keys, 1, options.state, &trusting));
    cv_image *first, *newest;
    must(cv_store_image(trusting, "node@1", &first));
    must(cv_store_image(trusting, "node", &newest));
    must(cv_image_extract(first, node, NULL, NULL, NULL, &json));
    say("deployed", json);
    must(cv_image_update(newest, node, NULL, NULL, NULL, &json));
    say("updated", json);

    must(cv_store_repair(plain, copy, NULL, NULL, &json)); /* nothing is damaged */
    say("repaired", json);
    cv_gc_options gc = {0}; /* what is found now is deleted by a run a week later */
    gc.size = sizeof gc;
    gc.keep_last = 1;
    must(cv_store_gc(store, &gc, NULL, NULL, &json));
    say("collected", json);
    cv_image_free(first), cv_image_free(newest);
    cv_store_free(trusting), cv_store_free(copy), cv_store_free(store), cv_store_free(plain);
    return 0;
}
