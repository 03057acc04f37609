/* Multicast from C, over loopback: an image is sent to a job that receives it, with each mode; how it goes; signed ones only; waiting that is
 * cancelled; what cannot be.
 *
 *   multicast /tmp/an-empty-directory
 */
#define _DEFAULT_SOURCE
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    WANT(f && fputs(text, f) >= 0 && !fclose(f));
}

/* The JSON has this in it; frees it. */
static void has(char *json, const char *text) {
    if (!strstr(json, text)) fprintf(stderr, "%s\n", json);
    WANT(strstr(json, text));
    cv_string_free(json);
}

/* Cancels the work and counts. */
static int32_t cancel(const char *event_json, void *user) {
    (void)event_json;
    ++*(int *)user;
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    snprintf(dir, sizeof dir, "%s", argv[1]);
    WANT(!mkdir(in("tree"), 0755));
    write_file(in("tree/motd"), "welcome\n");
    write_file(in("key"), "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
    write_file(in("bad"), "secret\n");
    cv_store *store, *signing;
    cv_image *image;
    cv_job *job;
    char *json, *id;
    MUST(cv_store_init(in("store"), &store));
    MUST(cv_key_generate(in("mine"), &id));
    cv_string_free(id);
    MUST(cv_key_generate(in("other"), &id));
    cv_string_free(id);
    MUST(cv_store_signing(store, in("mine"), &signing));
    cv_capture_options capture = {0};
    capture.size = sizeof capture;
    capture.state = in("state");
    MUST(cv_store_capture(signing, in("tree"), "node", &capture, NULL, NULL, &json));
    cv_string_free(json);
    MUST(cv_store_image(store, "node", &image));

    char group[64], key[4096], public[4096];
    snprintf(group, sizeof group, "239.192.71.1:%d", 20000 + (int)getpid() % 20000);
    snprintf(key, sizeof key, "%s", in("key"));
    snprintf(public, sizeof public, "%s", in("mine.pub"));
    const char *keys[] = {public};
    cv_mcast_send_options send = {0};
    send.size = sizeof send;
    send.group = group;
    send.receivers = 1;
    send.rate = "200Mbit";
    cv_mcast_recv_options receive = {0};
    receive.size = sizeof receive;
    receive.group = group;
    receive.name = "node";
    receive.keys = keys;
    receive.key_count = 1;
    receive.verify = 1;

    const char *modes[] = {NULL, "tag", "aead"};
    for (size_t i = 0; i < 3; i++) {
        char place[16];
        snprintf(place, sizeof place, "out%d", (int)i);
        send.mode = modes[i];
        send.key_file = receive.key_file = modes[i] ? key : NULL;
        MUST(cv_mcast_recv_start(in(place), "lo", &receive, NULL, &job));
        MUST(cv_mcast_send(image, "lo", &send, NULL, NULL, &json));
        has(json, "\"standing\":\"done\"");
        MUST(cv_job_result(job, &json));
        WANT(strstr(json, "\"name\":\"node\"") && strstr(json, "\"generation\":1") && strstr(json, "\"instead\":null"));
        has(json, "\"verified\":true");
        MUST(cv_job_free(job));
        MUST(cv_image_diff_tree(image, in(place), true, NULL, NULL, &json));
        WANT(!strcmp(json, "[]"));
        cv_string_free(json);
    }
    send.mode = NULL;
    send.key_file = receive.key_file = NULL;

    /* How it goes, while it does and afterwards; who receives says nothing of the kind. */
    cv_job *sending;
    MUST(cv_mcast_send_start(image, "lo", &send, &sending));
    reaches(sending, "multicast");
    for (json = NULL; !json; usleep(1000)) MUST(cv_job_report(sending, &json));
    has(json, "\"stage\":\"waiting\"");
    MUST(cv_mcast_recv_start(in("watched"), "lo", &receive, NULL, &job));
    MUST(cv_job_wait(sending, -1));
    MUST(cv_job_report(sending, &json));
    WANT(strstr(json, "\"stage\":\"over\""));
    has(json, "\"standing\":\"done\"");
    MUST(cv_job_wait(job, -1));
    MUST(cv_job_report(job, &json));
    WANT(!json);
    MUST(cv_job_free(job));
    MUST(cv_job_free(sending));

    /* Signed by somebody else: the receiver takes nothing. The sender would wait a while for it to come again. */
    snprintf(public, sizeof public, "%s", in("other.pub"));
    MUST(cv_mcast_send_start(image, "lo", &send, &job));
    WANT(cv_mcast_recv(in("none"), "lo", &receive, NULL, NULL, NULL, &json) == -CV_E_INTEGRITY);
    MUST(cv_job_free(job));
    WANT(access(in("none/motd"), F_OK));

    /* Nobody comes; whoever waits can be told to stop. */
    int heard = 0;
    WANT(cv_mcast_send(image, "lo", &send, cancel, &heard, &json) == -CV_E_CANCELLED && heard > 0);
    WANT(cv_mcast_recv(in("none"), "lo", &receive, NULL, cancel, &heard, &json) == -CV_E_CANCELLED);
    MUST(cv_mcast_send_start(image, "lo", &send, &job));
    reaches(job, "multicast");
    MUST(cv_job_cancel(job));
    WANT(cv_job_result(job, &json) == -CV_E_CANCELLED);
    MUST(cv_job_free(job));
    receive.name = "another";
    MUST(cv_mcast_recv_start(in("none"), "lo", &receive, NULL, &job));
    reaches(job, "listen");
    MUST(cv_job_cancel(job));
    WANT(cv_job_result(job, &json) == -CV_E_CANCELLED);
    MUST(cv_job_free(job));

    /* What cannot be. */
    WANT(cv_mcast_send(image, "none0", &send, NULL, NULL, &json) == -CV_E_NOT_FOUND);
    WANT(cv_mcast_recv(in("none"), "none0", &receive, NULL, NULL, NULL, &json) == -CV_E_NOT_FOUND);
    const char *rates[] = {"fast", "940", "10kbit"};
    for (size_t i = 0; i < 3; i++) {
        send.rate = rates[i];
        WANT(cv_mcast_send(image, "lo", &send, NULL, NULL, &json) == -CV_E_INVALID);
    }
    send.rate = NULL;
    send.mode = "rot13";
    WANT(cv_mcast_send(image, "lo", &send, NULL, NULL, &json) == -CV_E_INVALID);
    send.mode = "tag"; /* without a key */
    WANT(cv_mcast_send(image, "lo", &send, NULL, NULL, &json) == -CV_E_INVALID);
    snprintf(key, sizeof key, "%s", in("bad"));
    send.key_file = receive.key_file = key;
    WANT(cv_mcast_send(image, "lo", &send, NULL, NULL, &json) == -CV_E_INVALID);
    WANT(!strstr(cv_last_error()->json, "secret"));
    WANT(cv_mcast_recv(in("none"), "lo", &receive, NULL, NULL, NULL, &json) == -CV_E_INVALID);
    receive.key_file = "/none";
    WANT(cv_mcast_recv(in("none"), "lo", &receive, NULL, NULL, NULL, &json) == -CV_E_NOT_FOUND);
    send.mode = send.key_file = receive.key_file = NULL;
    const char *groups[] = {"", "nowhere", "239.192.71.1", "127.0.0.1:7786"};
    for (size_t i = 0; i < 4; i++) {
        send.group = receive.group = groups[i];
        WANT(cv_mcast_send(image, "lo", &send, NULL, NULL, &json) == -CV_E_INVALID);
        WANT(cv_mcast_recv(in("none"), "lo", &receive, NULL, NULL, NULL, &json) == -CV_E_INVALID);
    }
    receive.group = group;
    const char *mirrors[] = {"ftp://host"};
    cv_http_options http = {0};
    http.size = sizeof http;
    http.mirrors = mirrors;
    http.mirror_count = 1;
    WANT(cv_mcast_recv(in("none"), "lo", &receive, &http, NULL, NULL, &json) == -CV_E_INVALID);
    mirrors[0] = "http://127.0.0.1:1";
    WANT(cv_mcast_recv(in("none"), "lo", &receive, &http, NULL, NULL, &json) == -CV_E_NETWORK);
    MUST(cv_image_free(image));
    MUST(cv_store_free(signing));
    MUST(cv_store_free(store));
    return 0;
}
