/* Derived files that are signed, and what an import reports: from C, with handles that sign or believe.
 *
 *   derived /tmp/an-empty-directory
 */
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    WANT(f && fputs(text, f) >= 0 && !fclose(f));
}

/* The whole file, which is text. */
static char *text_of(const char *path) {
    static char text[1 << 16];
    FILE *f = fopen(path, "r");
    WANT(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

/* Derives through a handle of the store; says whether the file had to be made. */
static int made(const cv_store *store, const char *reference) {
    cv_derive_options options = {0};
    options.size = sizeof options;
    options.compression = CV_COMPRESSION_NONE;
    cv_image *image;
    char *json;
    MUST(cv_store_image(store, reference, &image));
    MUST(cv_image_derive(image, "cpio", NULL, &options, NULL, NULL, &json));
    int now = strstr(json, "\"made\":true") != NULL;
    WANT(now || strstr(json, "\"made\":false"));
    cv_string_free(json);
    cv_image_free(image);
    return now;
}

/* Lines of the only document of a derived file beyond its first three: its signatures. */
static int signatures(void) {
    DIR *d = opendir(in("store/blobs"));
    struct dirent *e = NULL;
    WANT(d);
    while ((e = readdir(d)) && e->d_name[0] == '.') {}
    WANT(e);
    char name[512];
    snprintf(name, sizeof name, "store/blobs/%.64s/cpio-plain", e->d_name);
    closedir(d);
    int lines = 0;
    for (const char *p = text_of(in(name)); *p; p++) lines += *p == '\n';
    return lines - 3;
}

static void signed_files(cv_store *store) {
    char *id, *other_id;
    cv_store *ours, *believing, *other;
    MUST(cv_key_generate(in("ours"), &id));
    MUST(cv_key_generate(in("other"), &other_id));
    MUST(cv_store_signing(store, in("ours"), &ours));
    MUST(cv_store_signing(store, in("other"), &other));
    const char *keys[] = {in("ours.pub")};
    MUST(cv_store_trusting(store, keys, 1, NULL, &believing));

    char *json;
    cv_capture_options options = {0};
    options.size = sizeof options;
    options.state = in("state");
    MUST(cv_store_capture(ours, in("tree"), "node", &options, NULL, NULL, &json));
    cv_string_free(json);

    /* Not signed: who believes nobody takes it, who believes a key makes it again, until somebody signs. */
    WANT(made(store, "node") && signatures() == 0);
    WANT(!made(store, "node"));
    WANT(made(believing, "node") && made(believing, "node"));
    WANT(made(ours, "node") && signatures() == 1);
    WANT(!made(ours, "node") && !made(believing, "node") && !made(store, "node"));
    /* Another key signs what it has made itself, beside the first. */
    WANT(made(other, "node") && signatures() == 2);
    WANT(!made(other, "node") && !made(believing, "node"));
    /* The signature of the other alone is none of a key that is believed. */
    const char *others[] = {in("other.pub")};
    cv_store *wrong;
    cv_image *image;
    MUST(cv_store_trusting(store, others, 1, NULL, &wrong));
    WANT(cv_store_image(wrong, "node", &image) == -CV_E_INTEGRITY);

    cv_string_free(id);
    cv_string_free(other_id);
    cv_store_free(wrong);
    cv_store_free(believing);
    cv_store_free(ours);
    cv_store_free(other);
}

static void reported_imports(cv_store *store) {
    char *json;
    cv_image *image;
    cv_tar_import_options options = {0};
    options.size = sizeof options;
    options.report = in("report");
    options.forbid_secrets = 1;
    MUST(cv_store_image(store, "node", &image));
    MUST(cv_image_export(image, in("node.tar"), "tar", NULL, NULL, NULL, &json));
    cv_string_free(json);
    cv_image_free(image);
    WANT(cv_store_import(store, in("node.tar"), "again", &options, NULL, NULL, &json) == -CV_E_REFUSED);
    const char *text = text_of(in("report"));
    WANT(strstr(text, "\"rule\":\"munge-key\"") && strstr(text, "\"image\": null"));
    options.forbid_secrets = 0;
    MUST(cv_store_import(store, in("node.tar"), "again", &options, NULL, NULL, &json));
    WANT(strstr(json, "\"rule\":\"munge-key\""));
    WANT(!strstr(text_of(in("report")), "\"image\": null"));
    cv_string_free(json);
    /* A caller that was compiled before there were reports. */
    cv_tar_import_options older = {0};
    older.size = (uint32_t)((char *)&older.report - (char *)&older);
    older.report = "/nowhere/at/all";
    MUST(cv_store_import(store, in("node.tar"), "older", &older, NULL, NULL, &json));
    cv_string_free(json);
}

static void told_repairs(cv_store *store) {
    cv_store *copy, *damaged;
    char *json;
    MUST(cv_store_init(in("copy"), &copy));
    MUST(cv_store_sync(store, copy, NULL, 0, NULL, NULL, &json));
    cv_string_free(json);
    /* A derived file does not go over. */
    WANT(access(in("copy/blobs"), F_OK));
    write_file(in("store/refs/node/HEAD"), "x");
    MUST(cv_store_open_to_repair(in("store"), &damaged));
    MUST(cv_store_repair(damaged, copy, NULL, NULL, &json));
    WANT(strstr(json, "\"healed\":[\"refs/node/HEAD\"]") && strstr(json, "\"removed\":[]"));
    cv_string_free(json);
    cv_store_free(damaged);
    cv_store_free(copy);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: derived DIRECTORY\n");
        return 2;
    }
    snprintf(dir, sizeof dir, "%s", argv[1]);
    WANT(!mkdir(in("tree"), 0755) && !mkdir(in("tree/etc"), 0755) && !mkdir(in("tree/etc/munge"), 0755));
    write_file(in("tree/etc/motd"), "welcome\n");
    write_file(in("tree/etc/munge/munge.key"), "0123456789abcdef0123456789abcdef");
    cv_store *store;
    MUST(cv_store_init(in("store"), &store));
    signed_files(store);
    reported_imports(store);
    told_repairs(store);
    cv_store_free(store);
    return 0;
}
