/* The doctor of multicast from C, over loopback: two ends that find each other, one that finds nobody, waiting that is cancelled, and what
 * cannot be.
 */
#define _DEFAULT_SOURCE
#include <string.h>
#include <unistd.h>

#include "check.h"

/* The JSON has this in it. */
#define HAS(json, text) (strstr(json, text) ? (void)0 : (fprintf(stderr, "%s\n", json), wanted(0, text)))

/* Keeps the stages that it hears of, one after the other. */
static int32_t stages(const char *event_json, void *user) {
    const char *stage = strstr(event_json, "\"kind\":\"stage\"") ? strstr(event_json, "\"stage\":\"") : NULL;
    char *all = user;
    if (stage && strlen(all) < 200) snprintf(all + strlen(all), 32, "%.*s ", (int)strcspn(stage + 9, "\""), stage + 9);
    return 0;
}

int main(void) {
    char group[64], heard[256] = "", *json;
    snprintf(group, sizeof group, "239.192.74.1:%d", 20000 + (int)getpid() % 20000);
    cv_doctor_mcast_options to = {0}, from;
    to.size = sizeof to;
    to.group = group;
    to.time_ms = 5000;
    from = to;
    to.receivers = 1;

    cv_job *job;
    MUST(cv_doctor_mcast_recv_start("lo", &from, &job));
    MUST(cv_doctor_mcast_send("lo", &to, stages, heard, &json));
    WANT(!strcmp(heard, "greet probe "));
    HAS(json, "\"interface\":\"lo\"");
    HAS(json, group);
    HAS(json, "\"message\":\"receivers heard: 1\"");
    HAS(json, "\"check\":\"control\",\"verdict\":\"ok\"");
    HAS(json, "\"way\":\"data\"");
    cv_string_free(json);
    MUST(cv_job_result(job, &json));
    WANT(!strstr(json, "\"sender\":null"));
    HAS(json, "\"check\":\"control\"");
    cv_string_free(json);
    MUST(cv_job_free(job));

    /* Nobody at the other end is a finding, and no error. */
    to.time_ms = from.time_ms = 300;
    MUST(cv_doctor_mcast_recv("lo", &from, NULL, NULL, &json));
    HAS(json, "\"sender\":null");
    HAS(json, "\"verdict\":\"bad\"");
    cv_string_free(json);
    MUST(cv_doctor_mcast_send_start("lo", &to, &job));
    MUST(cv_job_result(job, &json));
    HAS(json, "\"receivers\":[]");
    HAS(json, "\"verdict\":\"bad\"");
    cv_string_free(json);
    MUST(cv_job_free(job));

    /* Whoever waits can be told to stop. */
    to.time_ms = from.time_ms = 3600000;
    MUST(cv_doctor_mcast_send_start("lo", &to, &job));
    reaches(job, "greet");
    MUST(cv_job_cancel(job));
    WANT(cv_job_result(job, &json) == -CV_E_CANCELLED);
    MUST(cv_job_free(job));
    MUST(cv_doctor_mcast_recv_start("lo", &from, &job));
    reaches(job, "listen");
    MUST(cv_job_cancel(job));
    WANT(cv_job_result(job, &json) == -CV_E_CANCELLED);
    MUST(cv_job_free(job));

    /* What cannot be. */
    WANT(cv_doctor_mcast_send("none0", &to, NULL, NULL, &json) == -CV_E_NOT_FOUND);
    WANT(cv_doctor_mcast_recv("none0", &from, NULL, NULL, &json) == -CV_E_NOT_FOUND);
    const char *groups[] = {"", "nowhere", "239.192.74.1", "127.0.0.1:7786"};
    for (size_t i = 0; i < 4; i++) {
        to.group = from.group = groups[i];
        WANT(cv_doctor_mcast_send("lo", &to, NULL, NULL, &json) == -CV_E_INVALID);
        WANT(cv_doctor_mcast_recv("lo", &from, NULL, NULL, &json) == -CV_E_INVALID);
    }
    return 0;
}
