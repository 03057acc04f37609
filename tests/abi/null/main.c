/* What is not of one kind of handle, and the order of the rest. */
#include "null.h"

static int failed, done;

void expect(int ok, const char *what) {
    done++;
    if (ok) return;
    failed++;
    const cv_error *e = cv_last_error();
    fprintf(stderr, "FAILED: %s (last error: %s)\n", what, e ? e->message : "none");
}

int32_t refuse(const char *event_json, void *user) {
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
    packages_functions(image);
    layout_functions(image, dir);
    config_functions(tree);
    role_functions();
    server_functions(store, dir);
    multicast_functions(image, dir);
    doctor_functions();
    distro_functions(store, dir);
    build_functions(store);

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
