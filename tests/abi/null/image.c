/* Images: read, extracted, updated, compared. */
#include "null.h"

void image_functions(cv_image *image, const char *dir) {
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

void update_functions(cv_image *image, const char *dir) {
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

void diff_functions(cv_store *store, cv_image *a) {
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
