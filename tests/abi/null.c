/* NULL for each pointer of each function: an error where it is none, and never a crash. Then handles that are wrong.
 * The test `null_is_tried_for_each_pointer` reads this file and the header, and finds what is missing here.
 */
#define _DEFAULT_SOURCE
#include <libcv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed, done;

static void expect(int ok, const char *what) {
    done++;
    if (ok) return;
    failed++;
    const cv_error *e = cv_last_error();
    fprintf(stderr, "FAILED: %s (last error: %s)\n", what, e ? e->message : "none");
}

/* The call must fail with Invalid, and say which argument. */
#define NULL_IS_ERROR(function, argument, call) \
    expect((call) == -CV_E_INVALID && strstr(cv_last_error()->message, "NULL"), #function ": " #argument)
/* The call must not crash. */
#define NULL_IS_FINE(function, argument, call) ((void)(call), expect(1, #function ": " #argument))
#define IS(code, call) expect((call) == (code), #call)
#define CHECK(what) expect(!!(what), #what)

static int32_t refuse(const char *event_json, void *user) {
    (void)event_json;
    (void)user;
    return 1;
}

static cv_job *waited_for;
static void *wait_in_thread(void *result) {
    *(int32_t *)result = cv_job_wait(waited_for, 20000);
    return NULL;
}

struct reentrant {
    cv_store *store;
    int32_t code;
};
static int32_t call_again(const char *event_json, void *user) {
    struct reentrant *r = user;
    char *s;
    (void)event_json;
    r->code = cv_store_uuid(r->store, &s);
    return 0;
}

static void store_functions(cv_store *store, const char *dir, const char *tree) {
    char *s = NULL;
    cv_store *st;
    cv_image *image;
    cv_job *job;
    NULL_IS_ERROR(cv_store_init, place, cv_store_init(NULL, &st));
    NULL_IS_ERROR(cv_store_init, store, cv_store_init(dir, NULL));
    NULL_IS_ERROR(cv_store_open, place, cv_store_open(NULL, &st));
    NULL_IS_ERROR(cv_store_open, store, cv_store_open(dir, NULL));
    NULL_IS_FINE(cv_store_free, store, cv_store_free(NULL));
    NULL_IS_ERROR(cv_store_uuid, store, cv_store_uuid(NULL, &s));
    NULL_IS_ERROR(cv_store_uuid, uuid, cv_store_uuid(store, NULL));
    NULL_IS_ERROR(cv_store_images, store, cv_store_images(NULL, &s));
    NULL_IS_ERROR(cv_store_images, images_json, cv_store_images(store, NULL));
    NULL_IS_ERROR(cv_store_log, store, cv_store_log(NULL, "node", &s));
    NULL_IS_ERROR(cv_store_log, name, cv_store_log(store, NULL, &s));
    NULL_IS_ERROR(cv_store_log, releases_json, cv_store_log(store, "node", NULL));
    NULL_IS_ERROR(cv_store_image, store, cv_store_image(NULL, "node", &image));
    NULL_IS_ERROR(cv_store_image, reference, cv_store_image(store, NULL, &image));
    NULL_IS_ERROR(cv_store_image, image, cv_store_image(store, "node", NULL));
    NULL_IS_ERROR(cv_store_tag, store, cv_store_tag(NULL, "node", "node", "t"));
    NULL_IS_ERROR(cv_store_tag, reference, cv_store_tag(store, NULL, "node", "t"));
    NULL_IS_ERROR(cv_store_tag, name, cv_store_tag(store, "node", NULL, "t"));
    NULL_IS_ERROR(cv_store_tag, tag, cv_store_tag(store, "node", "node", NULL));
    NULL_IS_ERROR(cv_store_rollback, store, cv_store_rollback(NULL, "node", "node@1", &s));
    NULL_IS_ERROR(cv_store_rollback, name, cv_store_rollback(store, NULL, "node@1", &s));
    NULL_IS_ERROR(cv_store_rollback, reference, cv_store_rollback(store, "node", NULL, &s));
    NULL_IS_ERROR(cv_store_rollback, release_json, cv_store_rollback(store, "node", "node@1", NULL));
    NULL_IS_ERROR(cv_store_remove, store, cv_store_remove(NULL, "node"));
    NULL_IS_ERROR(cv_store_remove, reference, cv_store_remove(store, NULL));
    NULL_IS_ERROR(cv_store_check, store, cv_store_check(NULL, true, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_check, on_event, cv_store_check(store, true, NULL, NULL, &s));
    cv_string_free(s);
    s = NULL; /* an empty store may be checked before the cancel is seen */
    NULL_IS_FINE(cv_store_check, user, cv_store_check(store, true, refuse, NULL, &s));
    cv_string_free(s);
    NULL_IS_ERROR(cv_store_check, report_json, cv_store_check(store, true, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_store_check_start, store, cv_store_check_start(NULL, true, &job));
    NULL_IS_ERROR(cv_store_check_start, job, cv_store_check_start(store, true, NULL));

    cv_gc_options g = {0};
    g.size = sizeof g;
    g.dry_run = 1;
    NULL_IS_ERROR(cv_store_gc, store, cv_store_gc(NULL, &g, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_gc, options, cv_store_gc(store, NULL, NULL, NULL, &s));
    cv_string_free(s);
    NULL_IS_FINE(cv_store_gc, on_event, cv_store_gc(store, &g, NULL, NULL, &s));
    cv_string_free(s);
    s = NULL; /* an empty store may be collected before the cancel is seen */
    NULL_IS_FINE(cv_store_gc, user, cv_store_gc(store, &g, refuse, NULL, &s));
    cv_string_free(s);
    NULL_IS_ERROR(cv_store_gc, collected_json, cv_store_gc(store, &g, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_store_gc_start, store, cv_store_gc_start(NULL, &g, &job));
    NULL_IS_ERROR(cv_store_gc_start, job, cv_store_gc_start(store, &g, NULL));
    NULL_IS_FINE(cv_store_gc_start, options, cv_store_gc_start(store, NULL, &job));
    IS(0, cv_job_result(job, &s));
    cv_string_free(s);
    IS(0, cv_job_free(job));

    cv_store *copy = NULL;
    char copy_path[4096];
    snprintf(copy_path, sizeof copy_path, "%s.copy", dir);
    IS(0, cv_store_init(copy_path, &copy));
    NULL_IS_ERROR(cv_store_sync, store, cv_store_sync(NULL, copy, NULL, 0, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_sync, to, cv_store_sync(store, NULL, NULL, 0, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_sync, names, cv_store_sync(store, copy, NULL, 0, NULL, NULL, &s));
    cv_string_free(s);
    NULL_IS_FINE(cv_store_sync, on_event, cv_store_sync(store, copy, NULL, 0, NULL, NULL, &s));
    cv_string_free(s);
    s = NULL;
    NULL_IS_FINE(cv_store_sync, user, cv_store_sync(store, copy, NULL, 0, refuse, NULL, &s));
    cv_string_free(s);
    NULL_IS_ERROR(cv_store_sync, synced_json, cv_store_sync(store, copy, NULL, 0, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_store_sync_start, store, cv_store_sync_start(NULL, copy, NULL, 0, &job));
    NULL_IS_ERROR(cv_store_sync_start, to, cv_store_sync_start(store, NULL, NULL, 0, &job));
    NULL_IS_ERROR(cv_store_sync_start, job, cv_store_sync_start(store, copy, NULL, 0, NULL));
    NULL_IS_FINE(cv_store_sync_start, names, cv_store_sync_start(store, copy, NULL, 0, &job));
    IS(0, cv_job_result(job, &s));
    cv_string_free(s);
    IS(0, cv_job_free(job));
    NULL_IS_ERROR(cv_store_repair, store, cv_store_repair(NULL, copy, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_repair, from, cv_store_repair(store, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_repair, on_event, cv_store_repair(store, copy, NULL, NULL, &s));
    cv_string_free(s);
    s = NULL;
    NULL_IS_FINE(cv_store_repair, user, cv_store_repair(store, copy, refuse, NULL, &s));
    cv_string_free(s);
    NULL_IS_ERROR(cv_store_repair, repaired_json, cv_store_repair(store, copy, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_store_repair_start, store, cv_store_repair_start(NULL, copy, &job));
    NULL_IS_ERROR(cv_store_repair_start, from, cv_store_repair_start(store, NULL, &job));
    NULL_IS_ERROR(cv_store_repair_start, job, cv_store_repair_start(store, copy, NULL));
    IS(0, cv_store_free(copy));
    NULL_IS_ERROR(cv_store_open_to_repair, directory, cv_store_open_to_repair(NULL, &copy));
    NULL_IS_ERROR(cv_store_open_to_repair, store, cv_store_open_to_repair(copy_path, NULL));

    cv_capture_options o = {0};
    o.size = sizeof o;
    NULL_IS_ERROR(cv_store_capture, store, cv_store_capture(NULL, tree, "n", &o, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_capture, root, cv_store_capture(store, NULL, "n", &o, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_capture, name, cv_store_capture(store, tree, NULL, &o, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_capture, options, cv_store_capture(store, tree, "../n", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_capture, on_event, cv_store_capture(store, tree, "../n", &o, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_capture, user, cv_store_capture(store, tree, "n", &o, refuse, NULL, &s));
    NULL_IS_ERROR(cv_store_capture, captured_json, cv_store_capture(store, tree, "n", &o, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_store_capture_start, store, cv_store_capture_start(NULL, tree, "n", &o, &job));
    NULL_IS_ERROR(cv_store_capture_start, root, cv_store_capture_start(store, NULL, "n", &o, &job));
    NULL_IS_ERROR(cv_store_capture_start, name, cv_store_capture_start(store, tree, NULL, &o, &job));
    NULL_IS_ERROR(cv_store_capture_start, job, cv_store_capture_start(store, tree, "n", &o, NULL));
    job = NULL;
    NULL_IS_FINE(cv_store_capture_start, options, cv_store_capture_start(store, tree, "../n", NULL, &job));
    expect(job != NULL && cv_job_result(job, &s) == -CV_E_INVALID, "a job fails with the error of its work");
    cv_job_free(job);

    o.exclude_count = 1;
    IS(-CV_E_INVALID, cv_store_capture(store, tree, "n", &o, NULL, NULL, &s));
    const char *holes[] = {NULL};
    o.exclude = holes;
    IS(-CV_E_INVALID, cv_store_capture(store, tree, "n", &o, NULL, NULL, &s));
    o.exclude_count = 0;
    o.size = 3;
    IS(-CV_E_INVALID, cv_store_capture(store, tree, "n", &o, NULL, NULL, &s));
    struct {
        cv_capture_options o;
        char more[16];
    } later;
    memset(&later, 0, sizeof later);
    later.o.size = sizeof later;
    later.o.exact = 1;
    later.more[7] = 1;
    IS(-CV_E_UNSUPPORTED, cv_store_capture(store, tree, "n", &later.o, NULL, NULL, &s));
    later.more[7] = 0;
    later.o.expect_parent = 99;
    later.o.state = tree;
    IS(-CV_E_CONFLICT, cv_store_capture(store, tree, "n", &later.o, NULL, NULL, &s));
    IS(-CV_E_INVALID, cv_store_log(store, "\xff", &s));
    IS(-CV_E_NOT_FOUND, cv_store_log(store, "nobody", &s));
}

static void image_functions(cv_image *image, const char *dir) {
    char *s = NULL;
    cv_job *job;
    cv_extract_options o = {0};
    o.size = sizeof o;
    NULL_IS_FINE(cv_image_free, image, cv_image_free(NULL));
    NULL_IS_ERROR(cv_image_id, image, cv_image_id(NULL, &s));
    NULL_IS_ERROR(cv_image_id, id, cv_image_id(image, NULL));
    NULL_IS_ERROR(cv_image_tree_id, image, cv_image_tree_id(NULL, &s));
    NULL_IS_ERROR(cv_image_tree_id, id, cv_image_tree_id(image, NULL));
    NULL_IS_ERROR(cv_image_info, image, cv_image_info(NULL, &s));
    NULL_IS_ERROR(cv_image_info, info_json, cv_image_info(image, NULL));
    NULL_IS_ERROR(cv_image_ls, image, cv_image_ls(NULL, "/", true, &s));
    NULL_IS_ERROR(cv_image_ls, path, cv_image_ls(image, NULL, true, &s));
    NULL_IS_ERROR(cv_image_ls, entries_json, cv_image_ls(image, "/", true, NULL));
    NULL_IS_ERROR(cv_image_cat, image, cv_image_cat(NULL, "/f", 1));
    NULL_IS_ERROR(cv_image_cat, path, cv_image_cat(image, NULL, 1));
    IS(-CV_E_INVALID, cv_image_cat(image, "/f", -1));
    IS(-CV_E_IO, cv_image_cat(image, "/f", 1000));
    IS(-CV_E_NOT_FOUND, cv_image_cat(image, "/none", 1));
    NULL_IS_ERROR(cv_image_extract, image, cv_image_extract(NULL, dir, &o, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_extract, target, cv_image_extract(image, NULL, &o, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_extract, options, cv_image_extract(image, "/proc/none", NULL, refuse, NULL, &s));
    NULL_IS_FINE(cv_image_extract, on_event, cv_image_extract(image, "/proc/none", &o, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_extract, user, cv_image_extract(image, "/proc/none", &o, refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_extract, extracted_json, cv_image_extract(image, dir, &o, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_image_extract_start, image, cv_image_extract_start(NULL, dir, &o, &job));
    NULL_IS_ERROR(cv_image_extract_start, target, cv_image_extract_start(image, NULL, &o, &job));
    NULL_IS_ERROR(cv_image_extract_start, job, cv_image_extract_start(image, dir, &o, NULL));
    NULL_IS_FINE(cv_image_extract_start, options, cv_image_extract_start(image, "/proc/none", NULL, &job));
    cv_job_free(job);
}

static void sign_functions(cv_store *store, cv_image *image, const char *dir) {
    char *s = NULL, key[4200], public_key[4210], state[4210];
    cv_store *signing = NULL, *trusting = NULL;
    cv_image *found = NULL;
    cv_job *job;
    snprintf(key, sizeof key, "%s.key", dir);
    snprintf(public_key, sizeof public_key, "%s.pub", key);
    snprintf(state, sizeof state, "%s.state", dir);
    NULL_IS_ERROR(cv_key_generate, file, cv_key_generate(NULL, &s));
    NULL_IS_ERROR(cv_key_generate, key_id, cv_key_generate(key, NULL));
    IS(0, cv_key_generate(key, &s));
    expect(s && strlen(s) == 16, "a key has an id");
    cv_string_free(s);
    IS(-CV_E_CONFLICT, cv_key_generate(key, &s));
    NULL_IS_ERROR(cv_store_signing, store, cv_store_signing(NULL, key, &signing));
    NULL_IS_ERROR(cv_store_signing, key_file, cv_store_signing(store, NULL, &signing));
    NULL_IS_ERROR(cv_store_signing, signing, cv_store_signing(store, key, NULL));
    IS(-CV_E_INVALID, cv_store_signing(store, public_key, &signing));
    IS(0, cv_store_signing(store, key, &signing));
    const char *keys[] = {public_key};
    NULL_IS_ERROR(cv_store_trusting, store, cv_store_trusting(NULL, keys, 1, state, &trusting));
    NULL_IS_ERROR(cv_store_trusting, key_files, cv_store_trusting(store, NULL, 1, state, &trusting));
    NULL_IS_ERROR(cv_store_trusting, trusting, cv_store_trusting(store, keys, 1, state, NULL));
    NULL_IS_FINE(cv_store_trusting, state, cv_store_trusting(store, keys, 1, NULL, &trusting));
    IS(-CV_E_INTEGRITY, cv_store_image(trusting, "node", &found));
    IS(0, cv_store_free(trusting));
    IS(-CV_E_INVALID, cv_store_trusting(store, keys, 0, state, &trusting));
    IS(0, cv_store_trusting(store, keys, 1, state, &trusting));
    NULL_IS_ERROR(cv_store_sign, store, cv_store_sign(NULL, "node", &s));
    NULL_IS_ERROR(cv_store_sign, reference, cv_store_sign(signing, NULL, &s));
    NULL_IS_ERROR(cv_store_sign, release_json, cv_store_sign(signing, "node", NULL));
    IS(-CV_E_MISUSE, cv_store_sign(store, "node", &s));
    IS(0, cv_store_sign(signing, "node", &s));
    cv_string_free(s);
    IS(0, cv_store_image(trusting, "node", &found));
    NULL_IS_ERROR(cv_image_verify, image, cv_image_verify(NULL, 0, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_verify, verified_json, cv_image_verify(image, 0, NULL, NULL, NULL));
    NULL_IS_FINE(cv_image_verify, on_event, cv_image_verify(found, 0, NULL, NULL, &s));
    expect(s && strstr(s, "\"key\":\""), "who signed it is in the result");
    cv_string_free(s);
    s = NULL;
    NULL_IS_FINE(cv_image_verify, user, cv_image_verify(image, 0, refuse, NULL, &s));
    cv_string_free(s);
    NULL_IS_ERROR(cv_image_verify_start, image, cv_image_verify_start(NULL, 0, &job));
    NULL_IS_ERROR(cv_image_verify_start, job, cv_image_verify_start(image, 0, NULL));
    IS(0, cv_image_verify_start(image, 1, &job));
    IS(0, cv_job_result(job, &s));
    expect(s && strstr(s, "\"key\":null"), "nobody asked who signed it");
    cv_string_free(s);
    IS(0, cv_job_free(job));
    IS(0, cv_image_free(found));
    IS(0, cv_store_free(trusting));
    IS(0, cv_store_free(signing));
}

static void secret_options(cv_store *store, const char *dir) {
    char *s = NULL, tree[4200], file[4210];
    const char *wanted[] = {"/netrc"};
    cv_capture_options o = {0};
    o.size = sizeof o;
    o.forbid_secrets = 1;
    snprintf(tree, sizeof tree, "%s.secret", dir);
    snprintf(file, sizeof file, "%s/netrc", tree);
    FILE *f = mkdir(tree, 0755) ? NULL : fopen(file, "w");
    if (!f || fputs("machine h login l password p\n", f) < 0 || fclose(f)) exit(2);
    IS(-CV_E_REFUSED, cv_store_capture(store, tree, "secret", &o, NULL, NULL, &s));
    IS(-CV_E_NOT_FOUND, cv_store_log(store, "secret", &s));
    o.allow_secrets_count = 1;
    IS(-CV_E_INVALID, cv_store_capture(store, tree, "secret", &o, NULL, NULL, &s));
    o.allow_secrets = wanted;
    IS(0, cv_store_capture(store, tree, "secret", &o, NULL, NULL, &s));
    expect(s && strstr(s, "netrc-password"), "what is wanted is named all the same");
    cv_string_free(s);
    /* As a program knows the structure that was built before secrets were looked for. */
    o.size = offsetof(cv_capture_options, allow_secrets);
    IS(0, cv_store_capture(store, tree, "secret", &o, NULL, NULL, &s));
    cv_string_free(s);
}

static void update_functions(cv_image *image, const char *dir) {
    char *s = NULL;
    cv_job *job;
    cv_update_options o = {0};
    o.size = sizeof o;
    o.dry_run = 1;
    NULL_IS_ERROR(cv_image_update, image, cv_image_update(NULL, dir, &o, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_update, target, cv_image_update(image, NULL, &o, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_update, options, cv_image_update(image, "/proc/none", NULL, refuse, NULL, &s));
    NULL_IS_FINE(cv_image_update, on_event, cv_image_update(image, "/proc/none", &o, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_update, user, cv_image_update(image, "/proc/none", &o, refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_update, updated_json, cv_image_update(image, dir, &o, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_image_update_start, image, cv_image_update_start(NULL, dir, &o, &job));
    NULL_IS_ERROR(cv_image_update_start, target, cv_image_update_start(image, NULL, &o, &job));
    NULL_IS_ERROR(cv_image_update_start, job, cv_image_update_start(image, dir, &o, NULL));
    NULL_IS_FINE(cv_image_update_start, options, cv_image_update_start(image, "/proc/none", NULL, &job));
    cv_job_free(job);
    IS(-CV_E_NOT_FOUND, cv_image_update(image, "/proc/none", &o, NULL, NULL, &s));
    o.protect_count = 1;
    IS(-CV_E_INVALID, cv_image_update(image, dir, &o, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_diff_tree, image, cv_image_diff_tree(NULL, dir, true, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_diff_tree, tree, cv_image_diff_tree(image, NULL, true, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_diff_tree, on_event, cv_image_diff_tree(image, "/proc/none", true, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_diff_tree, user, cv_image_diff_tree(image, "/proc/none", true, refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_diff_tree, changes_json, cv_image_diff_tree(image, dir, true, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_image_diff_tree_start, image, cv_image_diff_tree_start(NULL, dir, true, &job));
    NULL_IS_ERROR(cv_image_diff_tree_start, tree, cv_image_diff_tree_start(image, NULL, true, &job));
    NULL_IS_ERROR(cv_image_diff_tree_start, job, cv_image_diff_tree_start(image, dir, true, NULL));
}

static void diff_functions(cv_store *store, cv_image *a) {
    char *s = NULL;
    cv_job *job;
    NULL_IS_ERROR(cv_store_diff, store, cv_store_diff(NULL, a, a, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_diff, before, cv_store_diff(store, NULL, a, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_diff, after, cv_store_diff(store, a, NULL, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_diff, changes_json, cv_store_diff(store, a, a, NULL, NULL, NULL));
    NULL_IS_FINE(cv_store_diff, on_event, cv_store_diff(store, a, a, NULL, NULL, &s));
    expect(s && !strcmp(s, "[]"), "an image is like itself");
    cv_string_free(s);
    s = NULL;
    NULL_IS_FINE(cv_store_diff, user, cv_store_diff(store, a, a, refuse, NULL, &s));
    cv_string_free(s);
    NULL_IS_ERROR(cv_store_diff_start, store, cv_store_diff_start(NULL, a, a, &job));
    NULL_IS_ERROR(cv_store_diff_start, before, cv_store_diff_start(store, NULL, a, &job));
    NULL_IS_ERROR(cv_store_diff_start, after, cv_store_diff_start(store, a, NULL, &job));
    NULL_IS_ERROR(cv_store_diff_start, job, cv_store_diff_start(store, a, a, NULL));
    IS(0, cv_store_diff_start(store, a, a, &job));
    IS(0, cv_job_result(job, &s));
    cv_string_free(s);
    IS(0, cv_job_free(job));
}

static void convert_functions(cv_store *store, cv_image *image, const char *dir) {
    char *s = NULL, path[4200];
    cv_job *job;
    cv_tar_import_options in = {0};
    in.size = sizeof in;
    cv_export_options to = {0};
    to.size = sizeof to;
    cv_derive_options of = {0};
    of.size = sizeof of;
    snprintf(path, sizeof path, "%s.oci", dir);
    NULL_IS_ERROR(cv_image_export, image, cv_image_export(NULL, path, "oci", &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_export, path, cv_image_export(image, NULL, "oci", &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_export, format, cv_image_export(image, path, NULL, &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_export, exported_json, cv_image_export(image, path, "oci", &to, NULL, NULL, NULL));
    IS(-CV_E_INVALID, cv_image_export(image, path, "zip", &to, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_export, options, cv_image_export(image, path, "zip", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_export, on_event, cv_image_export(image, path, "zip", &to, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_export, user, cv_image_export(image, path, "zip", &to, refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_export_start, image, cv_image_export_start(NULL, path, "oci", &to, &job));
    NULL_IS_ERROR(cv_image_export_start, path, cv_image_export_start(image, NULL, "oci", &to, &job));
    NULL_IS_ERROR(cv_image_export_start, format, cv_image_export_start(image, path, NULL, &to, &job));
    NULL_IS_ERROR(cv_image_export_start, job, cv_image_export_start(image, path, "oci", &to, NULL));
    to.compression = 99;
    IS(-CV_E_INVALID, cv_image_export(image, path, "oci", &to, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_export_start, options, cv_image_export_start(image, path, "oci", NULL, &job));
    IS(0, cv_job_result(job, &s));
    CHECK(strstr(s, "\"digest\":\"sha256:"));
    cv_string_free(s);
    IS(0, cv_job_free(job));
    IS(-CV_E_REFUSED, cv_image_export(image, path, "oci", NULL, NULL, NULL, &s));

    NULL_IS_ERROR(cv_store_import, store, cv_store_import(NULL, path, "o", &in, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_import, path, cv_store_import(store, NULL, "o", &in, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_import, name, cv_store_import(store, path, NULL, &in, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_import, imported_json, cv_store_import(store, path, "o", &in, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_store_import_start, store, cv_store_import_start(NULL, path, "o", &in, &job));
    NULL_IS_ERROR(cv_store_import_start, path, cv_store_import_start(store, NULL, "o", &in, &job));
    NULL_IS_ERROR(cv_store_import_start, name, cv_store_import_start(store, path, NULL, &in, &job));
    NULL_IS_ERROR(cv_store_import_start, job, cv_store_import_start(store, path, "o", &in, NULL));
    NULL_IS_FINE(cv_store_import, options, cv_store_import(store, path, "../o", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_import, on_event, cv_store_import(store, path, "../o", &in, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_import, user, cv_store_import(store, path, "../o", &in, refuse, NULL, &s));
    in.reference = "another";
    IS(-CV_E_NOT_FOUND, cv_store_import(store, path, "o", &in, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_import_start, options, cv_store_import_start(store, path, "o", NULL, &job));
    IS(0, cv_job_result(job, &s));
    CHECK(strstr(s, "\"format\":\"oci\""));
    cv_string_free(s);
    IS(0, cv_job_free(job));

    snprintf(path, sizeof path, "%s.erofs", dir);
    NULL_IS_ERROR(cv_image_derive, image, cv_image_derive(NULL, "erofs", NULL, &of, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_derive, kind, cv_image_derive(image, NULL, NULL, &of, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_derive, derived_json, cv_image_derive(image, "erofs", NULL, &of, NULL, NULL, NULL));
    IS(-CV_E_INVALID, cv_image_derive(image, "zip", path, &of, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_derive, options, cv_image_derive(image, "zip", path, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_derive, path, cv_image_derive(image, "zip", NULL, &of, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_derive, on_event, cv_image_derive(image, "zip", path, &of, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_derive, user, cv_image_derive(image, "zip", path, &of, refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_derive_start, image, cv_image_derive_start(NULL, "erofs", NULL, &of, &job));
    NULL_IS_ERROR(cv_image_derive_start, kind, cv_image_derive_start(image, NULL, NULL, &of, &job));
    NULL_IS_ERROR(cv_image_derive_start, job, cv_image_derive_start(image, "erofs", NULL, &of, NULL));
    NULL_IS_FINE(cv_image_derive_start, options, cv_image_derive_start(image, "zip", path, NULL, &job));
    NULL_IS_FINE(cv_image_derive_start, path, cv_image_derive_start(image, "erofs", NULL, &of, &job));
    IS(0, cv_job_result(job, &s));
    CHECK(strstr(s, "\"made\":true"));
    cv_string_free(s);
    IS(0, cv_job_free(job));
    IS(0, cv_image_derive(image, "erofs", path, &of, NULL, NULL, &s));
    CHECK(strstr(s, "\"made\":false"));
    cv_string_free(s);
    FILE *f = fopen(path, "r");
    CHECK(f);
    if (f) fclose(f);
}

static void tar_functions(cv_store *store, cv_image *image, const char *dir) {
    char *s = NULL, path[4200];
    cv_job *job;
    cv_tar_import_options in = {0};
    in.size = sizeof in;
    cv_tar_export_options to = {0};
    to.size = sizeof to;
    snprintf(path, sizeof path, "%s.tar", dir);
    FILE *f = fopen(path, "w+");
    if (!f) exit(2);
    int fd = fileno(f);
    NULL_IS_ERROR(cv_image_export_tar, image, cv_image_export_tar(NULL, fd, &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_export_tar, exported_json, cv_image_export_tar(image, fd, &to, NULL, NULL, NULL));
    NULL_IS_FINE(cv_image_export_tar, user, cv_image_export_tar(image, fd, &to, refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_export_tar_start, image, cv_image_export_tar_start(NULL, fd, &to, &job));
    NULL_IS_ERROR(cv_image_export_tar_start, job, cv_image_export_tar_start(image, fd, &to, NULL));
    IS(-CV_E_INVALID, cv_image_export_tar(image, -1, &to, NULL, NULL, &s));
    to.compression = 99;
    IS(-CV_E_INVALID, cv_image_export_tar(image, fd, &to, NULL, NULL, &s));
    if (ftruncate(fd, 0) || lseek(fd, 0, SEEK_SET)) exit(2);
    NULL_IS_FINE(cv_image_export_tar, options, cv_image_export_tar(image, 1000, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_export_tar, on_event, cv_image_export_tar(image, 1000, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_export_tar_start, options, cv_image_export_tar_start(image, fd, NULL, &job));
    IS(0, cv_job_result(job, &s));
    cv_string_free(s);
    IS(0, cv_job_free(job));

    lseek(fd, 0, SEEK_SET);
    NULL_IS_ERROR(cv_store_import_tar, store, cv_store_import_tar(NULL, fd, "t", &in, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_import_tar, name, cv_store_import_tar(store, fd, NULL, &in, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_import_tar, imported_json, cv_store_import_tar(store, fd, "t", &in, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_store_import_tar_start, store, cv_store_import_tar_start(NULL, fd, "t", &in, &job));
    NULL_IS_ERROR(cv_store_import_tar_start, name, cv_store_import_tar_start(store, fd, NULL, &in, &job));
    NULL_IS_ERROR(cv_store_import_tar_start, job, cv_store_import_tar_start(store, fd, "t", &in, NULL));
    NULL_IS_FINE(cv_store_import_tar, options, cv_store_import_tar(store, fd, "../t", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_import_tar, on_event, cv_store_import_tar(store, fd, "../t", &in, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_import_tar, user, cv_store_import_tar(store, fd, "../t", &in, refuse, NULL, &s));
    in.max_entries = 1;
    IS(-CV_E_LIMIT, cv_store_import_tar(store, fd, "t", &in, NULL, NULL, &s));
    lseek(fd, 0, SEEK_SET);
    NULL_IS_FINE(cv_store_import_tar_start, options, cv_store_import_tar_start(store, fd, "t", NULL, &job));
    fclose(f); /* the job has a copy */
    s = NULL;
    IS(0, cv_job_result(job, &s));
    cv_string_free(s);
    IS(0, cv_job_free(job));
    cv_image *imported;
    char *a = NULL, *b = NULL;
    IS(0, cv_store_image(store, "t", &imported));
    IS(0, cv_image_tree_id(imported, &a));
    IS(0, cv_image_tree_id(image, &b));
    expect(a && b && !strcmp(a, b), "a tree through tar is the same tree");
    cv_string_free(a);
    cv_string_free(b);
    IS(0, cv_image_free(imported));
}

static void layout_functions(cv_image *image, const char *dir) {
    static const char document[] = "schema: cv.layout/v1\nname: one\nfirmware: [bios]\ndisks:\n  os: {wipe: signatures}\n"
                                   "partitions:\n  os/data: {type: linux, size: rest}\n"
                                   "filesystems:\n  data: {on: os/data, type: ext4, mount: {at: /data}}\n";
    char *s = NULL, disk[4200];
    cv_layout *layout = NULL;
    cv_plan *plan = NULL;
    cv_job *job;
    snprintf(disk, sizeof disk, "%s.disk", dir);
    FILE *f = fopen(disk, "w");
    if (!f || ftruncate(fileno(f), 64 << 20) || fclose(f)) exit(2);
    NULL_IS_ERROR(cv_layout_parse, document, cv_layout_parse(NULL, "d", &layout));
    NULL_IS_ERROR(cv_layout_parse, name, cv_layout_parse(document, NULL, &layout));
    NULL_IS_ERROR(cv_layout_parse, layout, cv_layout_parse(document, "d", NULL));
    NULL_IS_ERROR(cv_layout_load, file, cv_layout_load(NULL, &layout));
    NULL_IS_ERROR(cv_layout_load, layout, cv_layout_load("/none", NULL));
    NULL_IS_ERROR(cv_layout_check, document, cv_layout_check(NULL, "d", &s));
    NULL_IS_ERROR(cv_layout_check, name, cv_layout_check(document, NULL, &s));
    NULL_IS_ERROR(cv_layout_check, diagnostics_json, cv_layout_check(document, "d", NULL));
    NULL_IS_ERROR(cv_layout_schema, schema_json, cv_layout_schema(NULL));
    NULL_IS_FINE(cv_layout_free, layout, cv_layout_free(NULL));
    IS(-CV_E_NOT_FOUND, cv_layout_load("/none/layout.yaml", &layout));
    IS(-CV_E_INVALID, cv_layout_parse("name: [", "d", &layout));
    expect(strstr(cv_last_error()->json, "diagnostics") != NULL, "what is wrong with a document is in the detail");
    IS(0, cv_layout_check("name: [", "d", &s));
    expect(s && strlen(s) > 2, "what is wrong with a document");
    cv_string_free(s);
    IS(0, cv_layout_schema(&s));
    cv_string_free(s);
    IS(0, cv_layout_parse(document, "d", &layout));
    NULL_IS_ERROR(cv_layout_name, layout, cv_layout_name(NULL, &s));
    NULL_IS_ERROR(cv_layout_name, name, cv_layout_name(layout, NULL));
    NULL_IS_ERROR(cv_layout_json, layout, cv_layout_json(NULL, &s));
    NULL_IS_ERROR(cv_layout_json, document_json, cv_layout_json(layout, NULL));

    const char *sets[] = {"os", "os"}, *disks[] = {disk, disk};
    cv_plan_options o = {0};
    o.size = sizeof o;
    o.hostname = "node1";
    o.seed = (const uint8_t *)"0123456789abcdef";
    o.image = image;
    cv_apply_options to = {0};
    to.size = sizeof to;
    to.image = image;
    NULL_IS_ERROR(cv_layout_plan, layout, cv_layout_plan(NULL, sets, disks, 1, &o, &plan));
    NULL_IS_ERROR(cv_layout_plan, sets, cv_layout_plan(layout, NULL, disks, 1, &o, &plan));
    NULL_IS_ERROR(cv_layout_plan, disks, cv_layout_plan(layout, sets, NULL, 1, &o, &plan));
    NULL_IS_ERROR(cv_layout_plan, plan, cv_layout_plan(layout, sets, disks, 1, &o, NULL));
    IS(-CV_E_INVALID, cv_layout_plan(layout, sets, disks, 2, &o, &plan));
    NULL_IS_FINE(cv_layout_plan, options, cv_layout_plan(layout, sets, disks, 1, NULL, &plan));
    IS(0, cv_plan_free(plan));
    IS(0, cv_layout_plan(layout, sets, disks, 1, &o, &plan));
    NULL_IS_FINE(cv_plan_free, plan, cv_plan_free(NULL));
    NULL_IS_ERROR(cv_plan_text, plan, cv_plan_text(NULL, &s));
    NULL_IS_ERROR(cv_plan_text, shown, cv_plan_text(plan, NULL));
    NULL_IS_ERROR(cv_plan_json, plan, cv_plan_json(NULL, &s));
    NULL_IS_ERROR(cv_plan_json, plan_json, cv_plan_json(plan, NULL));
    NULL_IS_ERROR(cv_plan_token, plan, cv_plan_token(NULL, &s));
    NULL_IS_ERROR(cv_plan_token, token, cv_plan_token(plan, NULL));
    NULL_IS_ERROR(cv_plan_apply, plan, cv_plan_apply(NULL, "x", &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_plan_apply, token, cv_plan_apply(plan, NULL, &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_plan_apply, applied_json, cv_plan_apply(plan, "x", &to, NULL, NULL, NULL));
    NULL_IS_FINE(cv_plan_apply, on_event, cv_plan_apply(plan, "x", &to, NULL, NULL, &s));
    NULL_IS_FINE(cv_plan_apply, options, cv_plan_apply(plan, "x", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_plan_apply, user, cv_plan_apply(plan, "x", &to, refuse, NULL, &s));
    IS(-CV_E_REFUSED, cv_plan_apply(plan, "0000-0000", &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_plan_apply_start, plan, cv_plan_apply_start(NULL, "x", &to, &job));
    NULL_IS_ERROR(cv_plan_apply_start, token, cv_plan_apply_start(plan, NULL, &to, &job));
    NULL_IS_ERROR(cv_plan_apply_start, job, cv_plan_apply_start(plan, "x", &to, NULL));
    NULL_IS_FINE(cv_plan_apply_start, options, cv_plan_apply_start(plan, "x", NULL, &job));
    IS(-CV_E_REFUSED, cv_job_result(job, &s));
    IS(0, cv_job_free(job));
    char *token = NULL;
    IS(0, cv_plan_token(plan, &token));
    IS(0, cv_plan_text(plan, &s));
    expect(token && s && strstr(s, token), "a plan shows its token");
    cv_string_free(s);
    cv_string_free(token);
    to.actions_json = "{";
    IS(-CV_E_INVALID, cv_plan_apply(plan, "x", &to, NULL, NULL, &s));
    to.actions_json = NULL;
    to.hostname = "no good";
    IS(-CV_E_INVALID, cv_plan_apply(plan, "x", &to, NULL, NULL, &s));
    IS(0, cv_plan_free(plan));
    IS(0, cv_layout_free(layout));
}

static void config_functions(const char *tree) {
    char *s = NULL;
    cv_job *job;
    static const char actions[] = "[{\"write-file\": {\"path\": \"/issue\", \"content\": \"x\"}}]";
    NULL_IS_ERROR(cv_config_apply, root, cv_config_apply(NULL, actions, NULL, NULL, &s));
    NULL_IS_ERROR(cv_config_apply, actions_json, cv_config_apply(tree, NULL, NULL, NULL, &s));
    NULL_IS_ERROR(cv_config_apply, outcomes_json, cv_config_apply(tree, actions, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_config_apply_start, root, cv_config_apply_start(NULL, actions, &job));
    NULL_IS_ERROR(cv_config_apply_start, actions_json, cv_config_apply_start(tree, NULL, &job));
    NULL_IS_ERROR(cv_config_apply_start, job, cv_config_apply_start(tree, actions, NULL));
    IS(-CV_E_INVALID, cv_config_apply(tree, "[{\"none\": 1}]", NULL, NULL, &s));
    NULL_IS_FINE(cv_config_apply, on_event, cv_config_apply(tree, actions, NULL, NULL, &s));
    expect(s && !strcmp(s, "[\"created\"]"), "a file is made");
    cv_string_free(s);
    s = NULL;
    NULL_IS_FINE(cv_config_apply, user, cv_config_apply("/none", actions, refuse, NULL, &s));
    IS(0, cv_config_apply_start(tree, actions, &job));
    IS(0, cv_job_result(job, &s));
    expect(s && !strcmp(s, "[\"unchanged\"]"), "a file is there");
    cv_string_free(s);
    IS(0, cv_job_free(job));
}

static void job_functions(cv_job *job) {
    char *s;
    bool finished = false;
    NULL_IS_FINE(cv_job_free, job, cv_job_free(NULL));
    NULL_IS_ERROR(cv_job_id, job, cv_job_id(NULL, &s));
    NULL_IS_ERROR(cv_job_id, id, cv_job_id(job, NULL));
    NULL_IS_ERROR(cv_job_poll, job, cv_job_poll(NULL, &finished));
    NULL_IS_ERROR(cv_job_poll, finished, cv_job_poll(job, NULL));
    NULL_IS_ERROR(cv_job_wait, job, cv_job_wait(NULL, 0));
    NULL_IS_ERROR(cv_job_cancel, job, cv_job_cancel(NULL));
    NULL_IS_ERROR(cv_job_next_event, job, cv_job_next_event(NULL, 0, &s));
    NULL_IS_ERROR(cv_job_next_event, event_json, cv_job_next_event(job, 0, NULL));
    NULL_IS_ERROR(cv_job_result, job, cv_job_result(NULL, &s));
    NULL_IS_ERROR(cv_job_result, result_json, cv_job_result(job, NULL));
    int events = 0;
    while (cv_job_next_event(job, -1, &s) == 0 && s) {
        events++;
        cv_string_free(s);
    }
    expect(events >= 2, "a job has a first and a last event");
    IS(0, cv_job_wait(job, -1));
    s = NULL;
    IS(0, cv_job_result(job, &s));
    cv_string_free(s);
    IS(-CV_E_MISUSE, cv_job_result(job, &s));
}

int main(int argc, char **argv) {
    char dir[4096], tree[4096], path[4096], state[4096], *s;
    if (argc != 2) return 2;
    snprintf(dir, sizeof dir, "%s/store", argv[1]);
    snprintf(tree, sizeof tree, "%s/tree", argv[1]);
    snprintf(path, sizeof path, "%s/tree/f", argv[1]);
    snprintf(state, sizeof state, "%s/state", argv[1]);
    if (mkdir(tree, 0755)) return 2;
    FILE *f = fopen(path, "w");
    if (!f || fputs("x\n", f) < 0 || fclose(f)) return 2;

    expect(cv_last_error() == NULL, "no error before the first");
    NULL_IS_FINE(cv_string_free, text, (cv_string_free(NULL), 0));
    expect(!strcmp(cv_error_name(-CV_E_STALE), "Stale") && !strcmp(cv_error_name(12345), "Failed"), "names");
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", CV_VERSION_MAJOR, CV_VERSION_MINOR, CV_VERSION_PATCH);
    expect(!strcmp(version, cv_version()), "the version of the library is that of the header");

    cv_store *store = NULL, *second = NULL;
    IS(-CV_E_NOT_FOUND, cv_store_open(dir, &store));
    expect(store == NULL, "outputs are written only on success");
    expect(cv_last_error()->code == CV_E_NOT_FOUND && !strcmp(cv_last_error()->name, "NotFound") &&
               cv_last_error()->json[0] == '{' && cv_last_error()->size >= sizeof(cv_error),
           "the last error is complete");
    IS(-CV_E_INVALID, cv_store_open("s3://x", &store));
    IS(-CV_E_INVALID, cv_store_init("s3://bucket/../prefix", &store));
    IS(-CV_E_UNSUPPORTED, cv_store_open("ftp://host/images", &store));
    IS(0, cv_store_init(dir, &store));
    IS(0, cv_store_open(dir, &second));
    store_functions(store, dir, tree);

    cv_job *job;
    cv_image *image;
    cv_capture_options o = {0};
    o.size = sizeof o;
    o.state = state;
    IS(0, cv_store_capture_start(store, tree, "node", &o, &job));
    job_functions(job);
    IS(0, cv_store_image(store, "node", &image));
    image_functions(image, dir);
    update_functions(image, dir);
    diff_functions(store, image);
    sign_functions(store, image, dir);
    secret_options(store, dir);
    tar_functions(store, image, dir);
    convert_functions(store, image, dir);
    layout_functions(image, dir);
    config_functions(tree);

    /* Handles: wrong type, closed, none at all, twice at once. */
    IS(-CV_E_MISUSE, cv_store_uuid((cv_store *)image, &s));
    IS(-CV_E_MISUSE, cv_store_uuid((cv_store *)&s, &s));
    IS(0, cv_store_free(second));
    IS(-CV_E_MISUSE, cv_store_free(second));
    IS(-CV_E_MISUSE, cv_store_images(second, &s));
    struct reentrant again = {store, 0};
    IS(0, cv_store_check(store, true, call_again, &again, &s));
    cv_string_free(s);
    IS(-CV_E_MISUSE, again.code);
    IS(-CV_E_CANCELLED, cv_store_check(store, true, refuse, NULL, &s));

    /* A cat that blocks holds its image; a job may be polled and cancelled while another thread waits. */
    pthread_t thread;
    int32_t waited = -1;
    bool finished;
    IS(0, cv_store_check_start(store, true, &waited_for));
    expect(!pthread_create(&thread, NULL, wait_in_thread, &waited), "a thread");
    IS(0, cv_job_poll(waited_for, &finished));
    IS(0, cv_job_cancel(waited_for));
    pthread_join(thread, NULL);
    IS(0, waited);
    IS(0, cv_job_free(waited_for));

    IS(0, cv_job_free(job));
    IS(0, cv_store_free(store));
    IS(0, cv_image_id(image, &s)); /* an image outlives its store's handle */
    cv_string_free(s);
    IS(0, cv_image_free(image));
    printf("%d passed, %d failed\n", done - failed, failed);
    return failed != 0;
}
