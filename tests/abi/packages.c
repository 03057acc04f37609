/* Packages of two images from C: listed, compared, written down as bills of materials; and images without.
 *
 *   packages /tmp/an-empty-directory
 */
#define _DEFAULT_SOURCE
#include <string.h>
#include <sys/stat.h>

#include "check.h"

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    WANT(f && fputs(text, f) >= 0 && !fclose(f));
}

/* Captures the tree, and opens what it became. */
static cv_image *captured(const cv_store *store) {
    cv_capture_options options = {0};
    options.size = sizeof options;
    options.state = in("state");
    char *json;
    cv_image *image;
    MUST(cv_store_capture(store, in("tree"), "node", &options, NULL, NULL, &json));
    MUST(cv_store_image(store, "node", &image));
    cv_string_free(json);
    return image;
}

/* The text is a document that has this in it; frees it. */
static void has(char *json, const char *text) {
    if (!strstr(json, text)) fprintf(stderr, "%s\n", json);
    WANT(strstr(json, text));
    cv_string_free(json);
}

/* Cancels at the first event. */
static int32_t cancel(const char *event_json, void *user) {
    (void)event_json;
    ++*(int *)user;
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    snprintf(dir, sizeof dir, "%s", argv[1]);
    const char *dirs[] = {"tree", "tree/etc", "tree/var", "tree/var/lib", "tree/var/lib/dpkg", "tree/var/lib/rpm"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) WANT(!mkdir(in(dirs[i]), 0755));
    write_file(in("tree/etc/os-release"), "ID=debian\n");
    cv_store *store;
    MUST(cv_store_init(in("store"), &store));
    char *json = NULL;

    cv_image *none = captured(store);
    WANT(cv_image_packages(none, NULL, NULL, &json) == -CV_E_NOT_FOUND && !json);

    write_file(in("tree/var/lib/dpkg/status"),
               "Package: bash\nStatus: install ok installed\nVersion: 5.2-1\nArchitecture: amd64\n\n"
               "Package: gone\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n");
    cv_image *before = captured(store);
    MUST(cv_image_packages(before, NULL, NULL, &json));
    has(json, "{\"kind\":\"deb\",\"name\":\"bash\",\"version\":\"5.2-1\",\"arch\":\"amd64\"}");
    int heard = 0;
    WANT(cv_image_packages(before, cancel, &heard, &json) == -CV_E_CANCELLED && heard > 0);

    write_file(in("tree/var/lib/dpkg/status"),
               "Package: bash\nStatus: install ok installed\nVersion: 5.2-2\nArchitecture: amd64\n\n"
               "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.3\nArchitecture: amd64\n");
    cv_image *after = captured(store);
    MUST(cv_image_diff_packages(before, after, NULL, NULL, &json));
    WANT(strstr(json, "\"added\":[{\"kind\":\"deb\",\"name\":\"zlib1g\""));
    WANT(strstr(json, "\"removed\":[{\"kind\":\"deb\",\"name\":\"gone\""));
    has(json, "\"changed\":[{\"old\":{\"kind\":\"deb\",\"name\":\"bash\",\"version\":\"5.2-1\"");
    MUST(cv_image_diff_packages(after, after, NULL, NULL, &json));
    has(json, "{\"added\":[],\"removed\":[],\"changed\":[]}");
    MUST(cv_image_sbom(after, "cyclonedx", NULL, NULL, &json));
    WANT(strstr(json, "\"bomFormat\": \"CycloneDX\""));
    has(json, "pkg:deb/debian/bash@5.2-2?arch=amd64");
    MUST(cv_image_sbom(after, "spdx", NULL, NULL, &json));
    WANT(strstr(json, "\"spdxVersion\": \"SPDX-2.3\""));
    has(json, "pkg:deb/debian/zlib1g@1:1.3?arch=amd64");

    write_file(in("tree/var/lib/rpm/Packages"), "of an older rpm");
    cv_image *older = captured(store);
    WANT(cv_image_packages(older, NULL, NULL, &json) == -CV_E_UNSUPPORTED && strstr(cv_last_error()->json, "bdb"));

    cv_image_free(older);
    cv_image_free(after);
    cv_image_free(before);
    cv_image_free(none);
    cv_store_free(store);
    return 0;
}
