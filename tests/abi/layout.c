/* Layouts from C: what is captured from a disk means that nothing is to be done; a plan from an inventory is that of another
 * machine; an encrypted device wants its secret before anything is written.
 *
 *   layout /tmp/an-empty-directory         it makes an image file there; mkfs.ext4 is needed
 */
#define _DEFAULT_SOURCE
#include <string.h>
#include <unistd.h>

#include "check.h"

static const char *const layout_text =
    "schema: cv.layout/v1\n"
    "name: one\n"
    "disks: {d: {wipe: all}}\n"
    "partitions: {d/data: {type: linux, size: rest, name: payload}}\n"
    "filesystems: {data: {on: d/data, type: ext4, label: kept}}\n";

static const char *const encrypted_text =
    "schema: cv.layout/v1\n"
    "name: secret\n"
    "disks: {d: {wipe: all}}\n"
    "partitions: {d/c: {type: luks, size: rest}}\n"
    "luks: {c: {on: d/c, keys: [{secret: \"ref:site/key\"}]}}\n"
    "filesystems: {data: {on: luks/c, type: ext4}}\n";

static const char *const inventory =
    "{\"schema\": \"cv.inventory/v1\", \"machine\": {\"memory\": 1073741824}, \"disks\": [{\"name\": \"sdx\", \"number\": \"8:176\","
    " \"transport\": \"sata\", \"size\": 1000204886016, \"logical-sector\": 512, \"physical-sector\": 4096, \"serial\": \"S3RIAL\","
    " \"content\": {\"fingerprint\": \"00\", \"signatures\": [{\"kind\": \"xfs\", \"start\": 0, \"length\": 1000204886016,"
    " \"label\": \"old\"}]}}]}";

/* What stands between the braces of `key`, which is the first of that name; good until the next call. */
static const char *object(const char *json, const char *key) {
    static char copy[1 << 16];
    const char *from = strstr(json, key), *at;
    int depth = 0;
    WANT(from && (from = strchr(from, '{')));
    for (at = from; *at; at++) {
        depth += *at == '{' ? 1 : *at == '}' ? -1 : 0;
        if (!depth) break;
    }
    WANT(*at && (size_t)(at - from) < sizeof copy - 2);
    snprintf(copy, sizeof copy, "%.*s", (int)(at - from + 1), from);
    return copy;
}

static cv_plan *planned(const char *text, const char *set, const char *disk, const char *inventory_json) {
    cv_layout *layout;
    cv_plan *plan;
    cv_plan_options options = {0};
    options.size = sizeof options;
    options.inventory_json = inventory_json;
    MUST(cv_layout_parse(text, "layout.c", &layout));
    MUST(cv_layout_plan(layout, &set, &disk, 1, &options, &plan));
    cv_layout_free(layout);
    return plan;
}

static int32_t apply(cv_plan *plan, uint8_t backend, const cv_secret *secrets, size_t count) {
    cv_apply_options options = {0};
    char *token, *json = NULL;
    options.size = sizeof options;
    options.backend = backend;
    options.secrets = secrets;
    options.secret_count = count;
    MUST(cv_plan_token(plan, &token));
    int32_t code = cv_plan_apply(plan, token, &options, NULL, NULL, &json);
    cv_string_free(token);
    cv_string_free(json);
    return code;
}

static int byte_at(const char *disk, long offset) {
    FILE *f = fopen(disk, "rb");
    WANT(f && !fseek(f, offset, SEEK_SET));
    int byte = fgetc(f);
    fclose(f);
    return byte;
}

static void empty_disk(const char *path) {
    FILE *f = fopen(path, "w");
    WANT(f && !fclose(f) && !truncate(path, 64 << 20));
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    snprintf(dir, sizeof dir, "%s", argv[1]);
    char disk[4096], set[256], text[1 << 16], *json, *shown;
    snprintf(disk, sizeof disk, "%s", in("disk"));

    /* Captured is what was made, and the plan of it is empty. */
    empty_disk(disk);
    cv_plan *plan = planned(layout_text, "d", disk, NULL);
    MUST(apply(plan, CV_BACKEND_OFFLINE, NULL, 0));
    cv_plan_free(plan);
    const char *disks[] = {disk};
    cv_layout_capture_options how = {0};
    how.size = sizeof how;
    how.name = "captured";
    MUST(cv_layout_capture(disks, 1, &how, &json));
    WANT(strstr(json, "\"unsupported\":[]") && strstr(json, "\"label\":\"kept\"") && strstr(json, "/payload\":{"));
    WANT(sscanf(object(json, "\"observed\""), "{\"%255[^\"]", set) == 1);
    snprintf(text, sizeof text, "%s", object(json, "\"layout\":"));
    cv_string_free(json);
    plan = planned(text, set, disk, NULL);
    MUST(cv_plan_json(plan, &json));
    WANT(strstr(json, "\"unchanged\":true") && strstr(json, "\"steps\":[]") && strstr(json, "\"recorded\":false"));
    cv_string_free(json);
    cv_plan_free(plan);

    /* The disk of another machine: planned, shown, and not applied here. */
    plan = planned(layout_text, "d", "/dev/sdx", inventory);
    MUST(cv_plan_json(plan, &json));
    WANT(strstr(json, "\"recorded\":true") && strstr(json, "S3RIAL"));
    cv_string_free(json);
    MUST(cv_plan_text(plan, &shown));
    WANT(strstr(shown, "as they were recorded") && strstr(shown, "xfs \"old\" on the whole disk"));
    cv_string_free(shown);
    MUST(cv_plan_svg(plan, &shown));
    WANT(strstr(shown, "S3RIAL") != NULL);
    cv_string_free(shown);
    WANT(apply(plan, CV_BACKEND_KERNEL, NULL, 0) == -CV_E_REFUSED && strstr(cv_last_error()->json, "A414"));
    cv_plan_free(plan);

    /* Without its secret, and with one of another name, nothing is written. */
    if (!geteuid() && !access("/usr/sbin/cryptsetup", X_OK)) {
        cv_secret secret = {"site/other", (const uint8_t *)"x", 1};
        empty_disk(disk);
        plan = planned(encrypted_text, "d", disk, NULL);
        WANT(apply(plan, CV_BACKEND_KERNEL, NULL, 0) == -CV_E_NOT_FOUND && strstr(cv_last_error()->json, "A407"));
        WANT(apply(plan, CV_BACKEND_KERNEL, &secret, 1) == -CV_E_NOT_FOUND && strstr(cv_last_error()->json, "site/key"));
        cv_plan_free(plan);
        WANT(byte_at(disk, 512) == 0);
    }
    return 0;
}
