/* Distributions. */
#include "null.h"

void distro_functions(cv_store *store, const char *dir) {
    char key[4200], *s = NULL;
    const char *keys[] = {key}, *none[] = {NULL};
    cv_distro_options options = {0};
    cv_job *job = NULL;
    snprintf(key, sizeof key, "%s/no-key", dir);
    options.size = sizeof options;
    /* The directory is none that has packages. */
    NULL_IS_ERROR(cv_distro_add, store, cv_distro_add(NULL, dir, NULL, NULL, NULL, &s));
    NULL_IS_ERROR(cv_distro_add, place, cv_distro_add(store, NULL, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_distro_add, options, cv_distro_add(store, key, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_distro_add, on_event, cv_distro_add(store, key, &options, NULL, NULL, &s));
    NULL_IS_FINE(cv_distro_add, user, cv_distro_add(store, key, &options, refuse, NULL, &s));
    NULL_IS_ERROR(cv_distro_add, added_json, cv_distro_add(store, dir, NULL, NULL, NULL, NULL));
    IS(-CV_E_NOT_FOUND, cv_distro_add(store, key, NULL, NULL, NULL, &s));
    NULL_IS_ERROR(cv_distro_add_start, store, cv_distro_add_start(NULL, dir, NULL, &job));
    NULL_IS_ERROR(cv_distro_add_start, place, cv_distro_add_start(store, NULL, NULL, &job));
    NULL_IS_ERROR(cv_distro_add_start, job, cv_distro_add_start(store, dir, NULL, NULL));
    NULL_IS_FINE(cv_distro_add_start, options, cv_distro_add_start(store, key, NULL, &job));
    IS(-CV_E_NOT_FOUND, cv_job_result(job, &s));
    IS(0, cv_job_free(job));
    options.key_count = 1;
    NULL_IS_ERROR(cv_distro_add, options.keys, cv_distro_add(store, dir, &options, NULL, NULL, &s));
    options.keys = none;
    NULL_IS_ERROR(cv_distro_add, options.keys, cv_distro_add(store, dir, &options, NULL, NULL, &s));
    options.keys = keys;
    IS(-CV_E_NOT_FOUND, cv_distro_add(store, dir, &options, NULL, NULL, &s));
    options.name = "a/b";
    IS(-CV_E_INVALID, cv_distro_add(store, dir, &options, NULL, NULL, &s));
    NULL_IS_ERROR(cv_distro_list, store, cv_distro_list(NULL, &s));
    NULL_IS_ERROR(cv_distro_list, distros_json, cv_distro_list(store, NULL));
    CHECK(s == NULL);
    IS(0, cv_distro_list(store, &s));
    CHECK(s && !strcmp(s, "[]"));
    cv_string_free(s);
    s = NULL;
    NULL_IS_ERROR(cv_distro_info, store, cv_distro_info(NULL, "d", &s));
    NULL_IS_ERROR(cv_distro_info, name, cv_distro_info(store, NULL, &s));
    NULL_IS_ERROR(cv_distro_info, distro_json, cv_distro_info(store, "d", NULL));
    IS(-CV_E_NOT_FOUND, cv_distro_info(store, "d", &s));
    NULL_IS_ERROR(cv_distro_verify, store, cv_distro_verify(NULL, "d", 0, NULL, NULL, &s));
    NULL_IS_ERROR(cv_distro_verify, name, cv_distro_verify(store, NULL, 0, NULL, NULL, &s));
    NULL_IS_FINE(cv_distro_verify, on_event, cv_distro_verify(store, "d", 0, NULL, NULL, &s));
    NULL_IS_FINE(cv_distro_verify, user, cv_distro_verify(store, "d", 0, refuse, NULL, &s));
    NULL_IS_ERROR(cv_distro_verify, report_json, cv_distro_verify(store, "d", 0, NULL, NULL, NULL));
    IS(-CV_E_NOT_FOUND, cv_distro_verify(store, "d", 0, NULL, NULL, &s));
    NULL_IS_ERROR(cv_distro_verify_start, store, cv_distro_verify_start(NULL, "d", 0, &job));
    NULL_IS_ERROR(cv_distro_verify_start, name, cv_distro_verify_start(store, NULL, 0, &job));
    NULL_IS_ERROR(cv_distro_verify_start, job, cv_distro_verify_start(store, "d", 0, NULL));
    IS(-CV_E_NOT_FOUND, cv_distro_verify_start(store, "d", 0, &job));
    NULL_IS_ERROR(cv_distro_remove, store, cv_distro_remove(NULL, "d"));
    NULL_IS_ERROR(cv_distro_remove, name, cv_distro_remove(store, NULL));
    IS(-CV_E_NOT_FOUND, cv_distro_remove(store, "d"));
    CHECK(s == NULL);
}
