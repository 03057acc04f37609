/* An image from the ISO of a distribution and a role, and its next version with one more package. Needs root and dnf.
 *
 *   cc build.c $(pkg-config --cflags --libs libcv) -o build && ./build /tmp/a-store Rocky-9.4-x86_64-dvd.iso our-node.yaml htop
 */
#include <libcv.h>
#include <stdio.h>
#include <stdlib.h>

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

/* What goes on: a stage, a line of dnf. Not 0 would end the work. */
static int32_t tell(const char *event_json, void *user) {
    (void)user;
    fprintf(stderr, "%s\n", event_json);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    char *json;
    cv_store *store;
    cv_role *role;
    cv_image *before, *after;
    must(cv_store_init(argv[1], &store));
    cv_distro_options distro = {0};
    distro.size = sizeof distro;
    distro.name = "el";
    must(cv_distro_add(store, argv[2], &distro, NULL, NULL, &json));
    say("added", json);

    /* The role says what is in the image; it names no distribution and no disk. */
    must(cv_role_find(argv[3], NULL, 0, &role));
    cv_build_options options = {0};
    options.size = sizeof options;
    options.tag = "prod";
    options.check_reproducible = 1;
    must(cv_build(store, "node", "el", NULL, role, &options, tell, NULL, &json));
    say("built", json);

    /* The next version needs no file of the first one: the role stands in its manifest. */
    const char *packages[] = {argv[4]};
    must(cv_build_update(store, "node", NULL, packages, 1, NULL, NULL, NULL, NULL, &json));
    cv_string_free(json);
    must(cv_store_image(store, "node@1", &before));
    must(cv_store_image(store, "node", &after));
    must(cv_image_diff_packages(before, after, NULL, NULL, &json));
    say("changes", json);
    must(cv_store_rollback(store, "node", "node:prod", &json));
    cv_string_free(json);
    cv_image_free(before);
    cv_image_free(after);
    cv_role_free(role);
    cv_store_free(store);
    return 0;
}
