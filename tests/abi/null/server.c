/* Servers, and stores behind them. */
#include "null.h"

void server_functions(cv_store *store, const char *dir) {
    char *s = NULL, *url, place[4200], listing[4200];
    cv_server *server = NULL, *mirror = NULL;
    cv_store *far;
    cv_server_options o = {0};
    o.size = sizeof o;
    cv_http_options h = {0};
    h.size = sizeof h;
    snprintf(place, sizeof place, "%s-mirror", dir);
    NULL_IS_ERROR(cv_server_start, store, cv_server_start(NULL, "127.0.0.1:0", &o, &server));
    NULL_IS_ERROR(cv_server_start, address, cv_server_start(store, NULL, &o, &server));
    NULL_IS_ERROR(cv_server_start, server, cv_server_start(store, "127.0.0.1:0", &o, NULL));
    IS(-CV_E_INVALID, cv_server_start(store, "nowhere", &o, &server));
    o.client_ca = "/none";
    IS(-CV_E_INVALID, cv_server_start(store, "127.0.0.1:0", &o, &server));
    o.tls_cert = o.tls_key = "/none";
    CHECK(cv_server_start(store, "127.0.0.1:0", &o, &server) < 0);
    o.client_ca = o.tls_cert = o.tls_key = NULL;
    o.on_access = refuse; /* what it returns does not matter */
    IS(0, cv_server_start(store, "127.0.0.1:0", &o, &server));
    NULL_IS_FINE(cv_server_start, options, cv_server_start(store, "127.0.0.1:0", NULL, &mirror));
    IS(0, cv_server_free(mirror));
    NULL_IS_ERROR(cv_server_address, server, cv_server_address(NULL, &s));
    NULL_IS_ERROR(cv_server_address, address, cv_server_address(server, NULL));
    NULL_IS_ERROR(cv_server_metrics, server, cv_server_metrics(NULL, &s));
    NULL_IS_ERROR(cv_server_metrics, metrics, cv_server_metrics(server, NULL));
    IS(0, cv_server_address(server, &url));
    snprintf(listing, sizeof listing, "http://%s", url);
    cv_string_free(url);
    o.on_access = NULL;

    NULL_IS_ERROR(cv_store_open_http, url, cv_store_open_http(NULL, &h, &far));
    NULL_IS_ERROR(cv_store_open_http, store, cv_store_open_http(listing, &h, NULL));
    NULL_IS_FINE(cv_store_open_http, options, cv_store_open_http(listing, NULL, &far));
    IS(0, cv_store_images(far, &s));
    cv_string_free(s);
    IS(0, cv_store_free(far));
    IS(-CV_E_INVALID, cv_store_open_http("ftp://host", &h, &far));
    const char *mirrors[] = {"http://host=heavy"};
    h.mirrors = mirrors;
    h.mirror_count = 1;
    IS(-CV_E_INVALID, cv_store_open_http(listing, &h, &far));
    h.mirror_count = 0;
    h.client_cert = "/none";
    IS(-CV_E_INVALID, cv_store_open_http(listing, &h, &far));
    h.client_cert = NULL;

    char *secret;
    NULL_IS_ERROR(cv_token_create, store, cv_token_create(NULL, "node", 0, 0, &secret));
    NULL_IS_ERROR(cv_token_create, name, cv_token_create(store, NULL, 0, 0, &secret));
    NULL_IS_ERROR(cv_token_create, secret, cv_token_create(store, "node", 0, 0, NULL));
    IS(-CV_E_INVALID, cv_token_create(store, "../node", 0, 0, &secret));
    IS(-CV_E_INVALID, cv_token_create(store, "node", 0, UINT64_MAX, &secret));
    IS(0, cv_token_create(store, "node", 1 << 20, 3600, &secret));
    h.token = secret;
    IS(0, cv_store_open_http(listing, &h, &far));
    IS(0, cv_store_free(far));
    NULL_IS_ERROR(cv_token_list, store, cv_token_list(NULL, &s));
    NULL_IS_ERROR(cv_token_list, tokens_json, cv_token_list(store, NULL));
    IS(0, cv_token_list(store, &s));
    CHECK(strstr(s, "\"max_size\":1048576") && strstr(s, "\"used\":false") && !strstr(s, secret));
    cv_string_free(s);
    char id[17];
    snprintf(id, sizeof id, "%s", secret + strlen("cvt1-"));
    NULL_IS_ERROR(cv_token_remove, store, cv_token_remove(NULL, id));
    NULL_IS_ERROR(cv_token_remove, id, cv_token_remove(store, NULL));
    IS(0, cv_token_remove(store, id));
    IS(-CV_E_NOT_FOUND, cv_token_remove(store, id));
    IS(-CV_E_DENIED, cv_store_open_http(listing, &h, &far));
    cv_string_free(secret);
    h.token = NULL;

    const char *servers[] = {listing, "http://127.0.0.1:1"};
    NULL_IS_ERROR(cv_doctor_http, urls, cv_doctor_http(NULL, 2, &h, &s));
    NULL_IS_ERROR(cv_doctor_http, examined_json, cv_doctor_http(servers, 2, &h, NULL));
    NULL_IS_FINE(cv_doctor_http, options, cv_doctor_http(servers, 2, NULL, &s));
    CHECK(strstr(s, "\"verdict\":\"ok\"") && strstr(s, "\"verdict\":\"bad\""));
    cv_string_free(s);
    IS(-CV_E_INVALID, cv_doctor_http(servers, 0, &h, &s));

    NULL_IS_ERROR(cv_server_mirror, directory, cv_server_mirror(NULL, "127.0.0.1:0", listing, &h, &o, NULL, NULL, &mirror));
    NULL_IS_ERROR(cv_server_mirror, address, cv_server_mirror(place, NULL, listing, &h, &o, NULL, NULL, &mirror));
    NULL_IS_ERROR(cv_server_mirror, url, cv_server_mirror(place, "127.0.0.1:0", NULL, &h, &o, NULL, NULL, &mirror));
    NULL_IS_ERROR(cv_server_mirror, server, cv_server_mirror(place, "127.0.0.1:0", listing, &h, &o, NULL, NULL, NULL));
    NULL_IS_FINE(cv_server_mirror, origin, cv_server_mirror(place, "127.0.0.1:0", listing, NULL, &o, NULL, NULL, &mirror));
    IS(0, cv_server_free(mirror));
    NULL_IS_FINE(cv_server_mirror, options, cv_server_mirror(place, "127.0.0.1:0", listing, &h, NULL, NULL, NULL, &mirror));
    IS(0, cv_server_stop(mirror, 5000));
    IS(-CV_E_MISUSE, cv_server_stop(mirror, 5000));
    IS(-CV_E_MISUSE, cv_server_address(mirror, &s));
    IS(0, cv_server_free(mirror));
    NULL_IS_FINE(cv_server_mirror, on_event, cv_server_mirror(place, "127.0.0.1:0", listing, &h, &o, NULL, NULL, &mirror));
    IS(0, cv_server_free(mirror));
    NULL_IS_FINE(cv_server_mirror, user, (void)cv_server_mirror(place, "127.0.0.1:0", listing, &h, &o, refuse, NULL, &mirror));

    char copy[4200];
    cv_job *job;
    snprintf(copy, sizeof copy, "%s-copy", dir);
    NULL_IS_ERROR(cv_store_mirror, store, cv_store_mirror(NULL, copy, NULL, NULL, &s));
    NULL_IS_ERROR(cv_store_mirror, directory, cv_store_mirror(store, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_store_mirror, on_event, cv_store_mirror(store, copy, NULL, NULL, &s));
    cv_string_free(s);
    s = NULL;
    NULL_IS_FINE(cv_store_mirror, user, cv_store_mirror(store, copy, refuse, NULL, &s));
    cv_string_free(s);
    NULL_IS_ERROR(cv_store_mirror, pulled_json, cv_store_mirror(store, copy, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_store_mirror_start, store, cv_store_mirror_start(NULL, copy, &job));
    NULL_IS_ERROR(cv_store_mirror_start, directory, cv_store_mirror_start(store, NULL, &job));
    NULL_IS_ERROR(cv_store_mirror_start, job, cv_store_mirror_start(store, copy, NULL));
    IS(0, cv_store_mirror_start(store, copy, &job));
    IS(0, cv_job_result(job, &s));
    cv_string_free(s);
    IS(0, cv_job_free(job));

    NULL_IS_ERROR(cv_server_stop, server, cv_server_stop(NULL, 0));
    IS(0, cv_server_stop(server, 5000));
    NULL_IS_FINE(cv_server_free, server, cv_server_free(NULL));
    IS(0, cv_server_free(server));
}
