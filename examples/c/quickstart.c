/* A store, a captured tree, a change, a second generation, what is different, and the way back.
 *
 *   cc quickstart.c $(pkg-config --cflags --libs libcv) -o quickstart && ./quickstart /tmp/an-empty-directory
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

static int32_t on_event(const char *event_json, void *user) {
    return event_json ? ++*(int *)user, 0 : 1; /* anything but 0 would cancel */
}

int main(int argc, char **argv) {
    char store_dir[4096], tree[4096], file[4096], state[4096], out[4096];
    if (argc != 2) return 2;
    snprintf(store_dir, sizeof store_dir, "%s/store", argv[1]);
    snprintf(state, sizeof state, "%s/state", argv[1]);
    snprintf(tree, sizeof tree, "%s/tree", argv[1]);
    snprintf(file, sizeof file, "%s/tree/motd", argv[1]);
    snprintf(out, sizeof out, "%s/out", argv[1]);
    if (mkdir(tree, 0755)) return 1;

    cv_store *store;
    must(cv_store_init(store_dir, &store));

    cv_capture_options options = {0};
    options.size = sizeof options;
    options.state = state;
    int events = 0;
    char *json;
    write_file(file, "welcome\n");
    must(cv_store_capture(store, tree, "node", &options, on_event, &events, &json));
    say("captured", json);

    write_file(file, "welcome, all of you\n");
    cv_job *job; /* the same in the background */
    must(cv_store_capture_start(store, tree, "node", &options, &job));
    must(cv_job_wait(job, 60000));
    must(cv_job_result(job, &json));
    say("captured again", json);
    cv_job_free(job);

    cv_image *first, *second, *image;
    must(cv_store_image(store, "node@1", &first));
    must(cv_store_image(store, "node@2", &second));
    must(cv_store_diff(store, first, second, NULL, NULL, &json));
    say("changed", json);

    must(cv_store_rollback(store, "node", "node@1", &json));
    say("rolled back", json);

    must(cv_store_image(store, "node", &image));
    must(cv_image_extract(image, out, NULL, NULL, NULL, &json));
    say("extracted", json);
    printf("%d events\n", events);
    cv_image_free(first);
    cv_image_free(second);
    cv_image_free(image);
    cv_store_free(store);
    return events > 0 ? 0 : 1;
}
