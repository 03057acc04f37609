/* Plans from C: a plan for one image is refused for another, without a write; then it is carried out, also with an image that is sent to many.
 *
 *   deploy /tmp/an-empty-directory         as root: it attaches a loop device to a file that it makes
 */
#define _DEFAULT_SOURCE
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static const char *const layout_text =
    "schema: cv.layout/v1\n"
    "name: one\n"
    "disks: {d: {wipe: all}}\n"
    "partitions: {d/root: {type: linux, size: rest}}\n"
    "filesystems: {root: {on: d/root, type: ext4, mount: {at: /}}}\n";

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    WANT(f && fputs(text, f) >= 0 && !fclose(f));
}

static cv_image *captured(cv_store *store, const char *motd) {
    cv_capture_options options = {0};
    cv_image *image;
    char *json;
    options.size = sizeof options;
    options.state = in("state");
    write_file(in("tree/etc/motd"), motd);
    MUST(cv_store_capture(store, in("tree"), "node", &options, NULL, NULL, &json));
    cv_string_free(json);
    MUST(cv_store_image(store, "node", &image));
    return image;
}

/* The byte of the disk at `offset`. */
static int byte_at(const char *disk, long offset) {
    FILE *f = fopen(disk, "rb");
    WANT(f && !fseek(f, offset, SEEK_SET));
    int byte = fgetc(f);
    fclose(f);
    return byte;
}

/* The image comes by multicast, over loopback, when the disks are ready. What cannot be is refused before a disk is touched. */
static void deploy_sent(cv_layout *layout, cv_image *image) {
    char group[64], *token, *json;
    snprintf(group, sizeof group, "239.192.73.1:%d", 20000 + (int)getpid() % 20000);
    const char *disk = in("disk2"), *set = "d";
    write_file(disk, "");
    WANT(!truncate(disk, 64 << 20));
    cv_plan_options options = {0};
    options.size = sizeof options;
    options.image = image;
    cv_plan *plan;
    MUST(cv_layout_plan(layout, &set, &disk, 1, &options, &plan));
    MUST(cv_plan_token(plan, &token));
    cv_mcast_recv_options from = {0};
    from.size = sizeof from;
    from.group = group;
    from.name = "node";
    cv_apply_options apply = {0};
    apply.size = sizeof apply;
    apply.verify = 1;
    apply.multicast = "none0";
    apply.multicast_options = &from;
    WANT(cv_plan_apply(plan, token, &apply, NULL, NULL, &json) == -CV_E_NOT_FOUND);
    apply.multicast = "lo";
    WANT(cv_plan_apply(plan, "0000-0000", &apply, NULL, NULL, &json) == -CV_E_REFUSED);
    WANT(strstr(cv_last_error()->json, "A400") != NULL);
    from.update = 1;
    WANT(cv_plan_apply(plan, token, &apply, NULL, NULL, &json) == -CV_E_INVALID);
    from.update = 0;
    apply.image = image;
    WANT(cv_plan_apply(plan, token, &apply, NULL, NULL, &json) == -CV_E_INVALID);
    apply.image = NULL;
    WANT(byte_at(disk, 512) == 0);

    cv_job *job;
    MUST(cv_plan_apply_start(plan, token, &apply, &job));
    cv_mcast_send_options send = {0};
    send.size = sizeof send;
    send.group = group;
    send.receivers = 1;
    send.rate = "200Mbit";
    MUST(cv_mcast_send(image, "lo", &send, NULL, NULL, &json));
    WANT(strstr(json, "\"standing\":\"done\"") != NULL);
    cv_string_free(json);
    MUST(cv_job_result(job, &json));
    WANT(strstr(json, "\"filesystems\":[") && strstr(json, "\"delivered\":{") && strstr(json, "\"name\":\"node\""));
    WANT(strstr(json, "\"verified\":true") && byte_at(disk, 512) == 'E');
    cv_string_free(json);
    MUST(cv_job_free(job));

    /* The disk is not as it was planned for; and who waits for an image can be told to stop. */
    WANT(cv_plan_apply(plan, token, &apply, NULL, NULL, &json) == -CV_E_REFUSED);
    cv_string_free(token);
    cv_plan_free(plan);
    write_file(disk, "");
    WANT(!truncate(disk, 64 << 20));
    MUST(cv_layout_plan(layout, &set, &disk, 1, &options, &plan));
    MUST(cv_plan_token(plan, &token));
    MUST(cv_plan_apply_start(plan, token, &apply, &job));
    for (int listens = 0; !listens;) {
        MUST(cv_job_next_event(job, -1, &json));
        WANT(json != NULL);
        listens = strstr(json, "\"stage\":\"listen\"") != NULL;
        cv_string_free(json);
    }
    MUST(cv_job_cancel(job));
    WANT(cv_job_result(job, &json) == -CV_E_CANCELLED);
    MUST(cv_job_free(job));
    cv_string_free(token);
    cv_plan_free(plan);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    snprintf(dir, sizeof dir, "%s", argv[1]);
    WANT(!mkdir(in("tree"), 0755) && !mkdir(in("tree/etc"), 0755));
    cv_store *store;
    MUST(cv_store_init(in("store"), &store));
    cv_image *first = captured(store, "first\n"), *second = captured(store, "second\n");

    /* A tree of the first becomes that of the second; a dry run writes nothing. */
    cv_update_options update = {0};
    char *did;
    update.size = sizeof update;
    update.dry_run = 1;
    MUST(cv_image_extract(first, in("out"), NULL, NULL, NULL, &did));
    cv_string_free(did);
    MUST(cv_image_update(second, in("out"), &update, NULL, NULL, &did));
    WANT(strstr(did, "\"/etc/motd\"") && strstr(did, "\"replace\""));
    cv_string_free(did);
    update.dry_run = 0;
    MUST(cv_image_update(second, in("out"), &update, NULL, NULL, &did));
    WANT(strstr(did, "\"replaced\":1") && strstr(did, "\"need\":\"nothing\""));
    cv_string_free(did);
    MUST(cv_image_diff_tree(second, in("out"), true, NULL, NULL, &did));
    WANT(!strcmp(did, "[]"));
    cv_string_free(did);

    const char *disk = in("disk");
    write_file(disk, "");
    WANT(!truncate(disk, 64 << 20));
    cv_layout *layout;
    MUST(cv_layout_parse(layout_text, "deploy.c", &layout));
    cv_plan_options options = {0};
    options.size = sizeof options;
    options.image = first;
    options.hostname = "n1";
    const char *set = "d";
    cv_plan *plan;
    char *token, *json;
    MUST(cv_layout_plan(layout, &set, &disk, 1, &options, &plan));
    MUST(cv_plan_token(plan, &token));

    cv_apply_options apply = {0};
    apply.size = sizeof apply;
    apply.hostname = "n1";
    apply.image = second;
    WANT(cv_plan_apply(plan, token, &apply, NULL, NULL, &json) == -CV_E_REFUSED);
    WANT(strstr(cv_last_error()->json, "A400") != NULL);
    apply.image = first;
    WANT(cv_plan_apply(plan, "0000-0000", &apply, NULL, NULL, &json) == -CV_E_REFUSED);
    WANT(strstr(cv_last_error()->json, "A400") != NULL);
    apply.backend = 2;
    WANT(cv_plan_apply(plan, token, &apply, NULL, NULL, &json) == -CV_E_INVALID);
    apply.backend = CV_BACKEND_OFFLINE;
    apply.tpm2_device = "\xff";
    WANT(cv_plan_apply(plan, token, &apply, NULL, NULL, &json) == -CV_E_INVALID);
    WANT(strstr(cv_last_error()->json, "tpm2_device") != NULL);
    apply.tpm2_device = NULL;
    WANT(byte_at(disk, 512) == 0);
    apply.backend = CV_BACKEND_OFFLINE;
    apply.journal = in("journal");

    MUST(cv_plan_apply(plan, token, &apply, NULL, NULL, &json));
    WANT(strstr(json, "\"root\"") != NULL && byte_at(disk, 512) == 'E');
    cv_string_free(json);
    MUST(cv_journal_read(in("journal"), &json));
    WANT(strstr(json, "\"done\":true") != NULL && strstr(json, token) != NULL);
    cv_string_free(json);
    cv_plan_free(plan);

    /* It was not interrupted: a plan with its seed goes on with it, and has nothing to do. */
    options.resume = in("journal");
    apply.resume = 1;
    MUST(cv_layout_plan(layout, &set, &disk, 1, &options, &plan));
    MUST(cv_plan_apply(plan, token, &apply, NULL, NULL, &json));
    cv_string_free(json);
    apply.hostname = "n2";
    options.hostname = "n2";
    cv_plan_free(plan);
    MUST(cv_layout_plan(layout, &set, &disk, 1, &options, &plan));
    WANT(cv_plan_apply(plan, token, &apply, NULL, NULL, &json) == -CV_E_REFUSED);
    WANT(strstr(cv_last_error()->json, "A411") != NULL);
    cv_string_free(token);
    cv_plan_free(plan);
    deploy_sent(layout, second);
    cv_layout_free(layout);
    cv_image_free(first);
    cv_image_free(second);
    cv_store_free(store);
    return 0;
}
