/* What is installed in two versions of an image, what changed between them, and a bill of materials.
 *
 *   cc packages.c $(pkg-config --cflags --libs libcv) -o packages && ./packages /tmp/an-empty-directory
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

/* What dpkg keeps of two packages in the place of a system with hundreds. */
static const char *const versions[] = {
    "Package: bash\nStatus: install ok installed\nVersion: 5.2-1\nArchitecture: amd64\n\n"
    "Package: nano\nStatus: install ok installed\nVersion: 7.2-1\nArchitecture: amd64\n",
    "Package: bash\nStatus: install ok installed\nVersion: 5.2-2\nArchitecture: amd64\n\n"
    "Package: vim\nStatus: install ok installed\nVersion: 2:9.0-1\nArchitecture: amd64\n",
};

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *top = argv[1], *json;
    const char *dirs[] = {"tree", "tree/var", "tree/var/lib", "tree/var/lib/dpkg"};
    for (int i = 0; i < 4; i++)
        if (mkdir(in(top, dirs[i]), 0755)) return 1;
    cv_store *store;
    cv_image *images[2];
    must(cv_store_init(in(top, "store"), &store));
    cv_capture_options options = {0};
    options.size = sizeof options;
    options.state = in(top, "state");
    for (int i = 0; i < 2; i++) {
        write_file(in(top, "tree/var/lib/dpkg/status"), versions[i]);
        must(cv_store_capture(store, in(top, "tree"), "node", &options, NULL, NULL, &json));
        cv_string_free(json);
        must(cv_store_image(store, "node", &images[i]));
    }

    /* Whatever made an image: its packages are read from the database that it has, of rpm or of dpkg. */
    must(cv_image_packages(images[1], NULL, NULL, &json));
    say("installed", json);
    must(cv_image_diff_packages(images[0], images[1], NULL, NULL, &json));
    say("changes", json);

    /* The same version gives the same document each time. */
    must(cv_image_sbom(images[1], "cyclonedx", NULL, NULL, &json));
    write_file(in(top, "node.cdx.json"), json);
    cv_string_free(json);
    cv_image_free(images[0]);
    cv_image_free(images[1]);
    cv_store_free(store);
    return 0;
}
