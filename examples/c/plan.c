/* A layout for two disks, what it means for these two, and its picture. Nothing is written to them.
 *
 *   cc plan.c $(pkg-config --cflags --libs libcv) -o plan && ./plan /tmp/an-empty-directory
 */
#define _XOPEN_SOURCE 700
#define _FILE_OFFSET_BITS 64
#include <libcv.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char layout_text[] =
    "schema: cv.layout/v1\n"
    "name: mirror\n"
    "disks: {os: {count: 2, wipe: all}}\n"
    "partitions:\n"
    "  os/esp: {type: esp, size: 512MiB}\n"
    "  os/pv:  {type: linux-raid, size: rest}\n"
    "raid: {pv: {level: 1, members: [os/pv]}}\n"
    "lvm: {sys: {pvs: [raid/pv], lvs: {root: {size: 20GiB}, swap: {size: 4GiB}, data: {size: rest}}}}\n"
    "filesystems:\n"
    "  esp:  {on: os/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi}}\n"
    "  root: {on: lvm/sys/root, type: xfs, label: root, mount: {at: /}}\n"
    "  swap: {on: lvm/sys/swap, type: swap}\n"
    "  data: {on: lvm/sys/data, type: xfs, mount: {at: /data}}\n";

static void must(int32_t code) {
    if (code == CV_OK) return;
    const cv_error *e = cv_last_error();
    fprintf(stderr, "%s: %s%s%s\n", e->name, e->message, e->hint ? "\n  hint: " : "", e->hint ? e->hint : "");
    exit(e->code);
}

static char *in(const char *top, const char *name) {
    char *path = malloc(4096);
    if (!path || snprintf(path, 4096, "%s/%s", top, name) >= 4096) exit(1);
    return path; /* a short program: never freed */
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    const char *sets[2] = {"os", "os"}, *disks[2] = {in(argv[1], "disk0"), in(argv[1], "disk1")};
    for (int i = 0; i < 2; i++) { /* devices would be named the same way: /dev/sda */
        FILE *f = fopen(disks[i], "w");
        if (!f || ftruncate(fileno(f), (off_t)100 << 30) || fclose(f)) return 1;
    }

    cv_plan_options options = {0};
    options.size = sizeof options;
    options.hostname = "node001";
    cv_layout *layout;
    cv_plan *plan;
    char *text, *svg, *token, *picture = in(argv[1], "plan.svg");
    must(cv_layout_parse(layout_text, "mirror.yaml", &layout));
    must(cv_layout_plan(layout, sets, disks, 2, &options, &plan));
    must(cv_plan_text(plan, &text));
    must(cv_plan_svg(plan, &svg));
    must(cv_plan_token(plan, &token));
    fputs(text, stdout);

    FILE *f = fopen(picture, "w");
    if (!f || fputs(svg, f) < 0 || fclose(f)) return 1;
    printf("look at %s, and then: cv_plan_apply(plan, \"%s\", ...)\n", picture, token);
    cv_string_free(text);
    cv_string_free(svg);
    cv_string_free(token);
    cv_plan_free(plan);
    cv_layout_free(layout);
    return 0;
}
