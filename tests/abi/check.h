/* What the C tests that make files share: an error ends them and is told, and names are beneath one directory. */
#ifndef CHECK_H
#define CHECK_H

#include <libcv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void must(int32_t code, const char *what) {
    if (code == CV_OK) return;
    const cv_error *e = cv_last_error();
    fprintf(stderr, "%s: %s: %s\n", what, e->name, e->message);
    exit(1);
}
#define MUST(call) must(call, #call)

static inline void wanted(int ok, const char *what) {
    if (ok) return;
    const cv_error *e = cv_last_error();
    fprintf(stderr, "not so: %s (last error: %s)\n", what, e ? e->json : "none");
    exit(1);
}
#define WANT(condition) wanted(!!(condition), #condition)

static char dir[2048];

/* A name beneath `dir`; good until eight more were asked for. */
static inline const char *in(const char *name) {
    static char paths[8][4096];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

/* Waits until the job is at this stage. */
static inline void reaches(cv_job *job, const char *stage) {
    char *json, want[64];
    snprintf(want, sizeof want, "\"stage\":\"%s\"", stage);
    for (int there = 0; !there;) {
        MUST(cv_job_next_event(job, 20000, &json));
        WANT(json);
        there = strstr(json, want) != NULL;
        cv_string_free(json);
    }
}

#endif
