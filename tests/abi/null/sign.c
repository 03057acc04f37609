/* Keys, signatures, and the options for secrets. */
#include "null.h"

void sign_functions(cv_store *store, cv_image *image, const char *dir) {
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

void secret_options(cv_store *store, const char *dir) {
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
