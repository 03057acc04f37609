/* Layouts and configuration. */
#include "null.h"

void layout_functions(cv_image *image, const char *dir) {
    static const char document[] = "schema: cv.layout/v1\nname: one\nfirmware: [bios]\ndisks:\n  os: {wipe: signatures}\n"
                                   "partitions:\n  os/data: {type: linux, size: rest}\n"
                                   "filesystems:\n  data: {on: os/data, type: ext4, mount: {at: /data}}\n";
    char *s = NULL, disk[4200];
    cv_layout *layout = NULL;
    cv_plan *plan = NULL;
    cv_job *job;
    snprintf(disk, sizeof disk, "%s.disk", dir);
    FILE *f = fopen(disk, "w");
    if (!f || ftruncate(fileno(f), 64 << 20) || fclose(f)) exit(2);
    NULL_IS_ERROR(cv_layout_parse, document, cv_layout_parse(NULL, "d", &layout));
    NULL_IS_ERROR(cv_layout_parse, name, cv_layout_parse(document, NULL, &layout));
    NULL_IS_ERROR(cv_layout_parse, layout, cv_layout_parse(document, "d", NULL));
    NULL_IS_ERROR(cv_layout_load, file, cv_layout_load(NULL, &layout));
    NULL_IS_ERROR(cv_layout_load, layout, cv_layout_load("/none", NULL));
    NULL_IS_ERROR(cv_layout_check, document, cv_layout_check(NULL, "d", &s));
    NULL_IS_ERROR(cv_layout_check, name, cv_layout_check(document, NULL, &s));
    NULL_IS_ERROR(cv_layout_check, diagnostics_json, cv_layout_check(document, "d", NULL));
    NULL_IS_ERROR(cv_layout_schema, schema_json, cv_layout_schema(NULL));
    NULL_IS_FINE(cv_layout_free, layout, cv_layout_free(NULL));
    IS(-CV_E_NOT_FOUND, cv_layout_load("/none/layout.yaml", &layout));
    IS(-CV_E_INVALID, cv_layout_parse("name: [", "d", &layout));
    expect(strstr(cv_last_error()->json, "diagnostics") != NULL, "what is wrong with a document is in the detail");
    IS(0, cv_layout_check("name: [", "d", &s));
    expect(s && strlen(s) > 2, "what is wrong with a document");
    cv_string_free(s);
    IS(0, cv_layout_schema(&s));
    cv_string_free(s);
    IS(0, cv_layout_parse(document, "d", &layout));
    NULL_IS_ERROR(cv_layout_name, layout, cv_layout_name(NULL, &s));
    NULL_IS_ERROR(cv_layout_name, name, cv_layout_name(layout, NULL));
    NULL_IS_ERROR(cv_layout_json, layout, cv_layout_json(NULL, &s));
    NULL_IS_ERROR(cv_layout_json, document_json, cv_layout_json(layout, NULL));

    const char *sets[] = {"os", "os"}, *disks[] = {disk, disk};
    cv_plan_options o = {0};
    o.size = sizeof o;
    o.hostname = "node1";
    o.seed = (const uint8_t *)"0123456789abcdef";
    o.image = image;
    cv_apply_options to = {0};
    to.size = sizeof to;
    to.image = image;
    NULL_IS_ERROR(cv_layout_plan, layout, cv_layout_plan(NULL, sets, disks, 1, &o, &plan));
    NULL_IS_ERROR(cv_layout_plan, sets, cv_layout_plan(layout, NULL, disks, 1, &o, &plan));
    NULL_IS_ERROR(cv_layout_plan, disks, cv_layout_plan(layout, sets, NULL, 1, &o, &plan));
    NULL_IS_ERROR(cv_layout_plan, plan, cv_layout_plan(layout, sets, disks, 1, &o, NULL));
    IS(-CV_E_INVALID, cv_layout_plan(layout, sets, disks, 2, &o, &plan));
    NULL_IS_FINE(cv_layout_plan, options, cv_layout_plan(layout, sets, disks, 1, NULL, &plan));
    IS(0, cv_plan_free(plan));
    IS(0, cv_layout_plan(layout, sets, disks, 1, &o, &plan));
    NULL_IS_FINE(cv_plan_free, plan, cv_plan_free(NULL));
    NULL_IS_ERROR(cv_plan_text, plan, cv_plan_text(NULL, &s));
    NULL_IS_ERROR(cv_plan_text, shown, cv_plan_text(plan, NULL));
    NULL_IS_ERROR(cv_plan_json, plan, cv_plan_json(NULL, &s));
    NULL_IS_ERROR(cv_plan_json, plan_json, cv_plan_json(plan, NULL));
    NULL_IS_ERROR(cv_plan_svg, plan, cv_plan_svg(NULL, &s));
    NULL_IS_ERROR(cv_plan_svg, svg, cv_plan_svg(plan, NULL));
    NULL_IS_ERROR(cv_plan_token, plan, cv_plan_token(NULL, &s));
    NULL_IS_ERROR(cv_plan_token, token, cv_plan_token(plan, NULL));
    NULL_IS_ERROR(cv_plan_apply, plan, cv_plan_apply(NULL, "x", &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_plan_apply, token, cv_plan_apply(plan, NULL, &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_plan_apply, applied_json, cv_plan_apply(plan, "x", &to, NULL, NULL, NULL));
    NULL_IS_FINE(cv_plan_apply, on_event, cv_plan_apply(plan, "x", &to, NULL, NULL, &s));
    NULL_IS_FINE(cv_plan_apply, options, cv_plan_apply(plan, "x", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_plan_apply, user, cv_plan_apply(plan, "x", &to, refuse, NULL, &s));
    IS(-CV_E_REFUSED, cv_plan_apply(plan, "0000-0000", &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_plan_apply_start, plan, cv_plan_apply_start(NULL, "x", &to, &job));
    NULL_IS_ERROR(cv_plan_apply_start, token, cv_plan_apply_start(plan, NULL, &to, &job));
    NULL_IS_ERROR(cv_plan_apply_start, job, cv_plan_apply_start(plan, "x", &to, NULL));
    NULL_IS_FINE(cv_plan_apply_start, options, cv_plan_apply_start(plan, "x", NULL, &job));
    IS(-CV_E_REFUSED, cv_job_result(job, &s));
    IS(0, cv_job_free(job));
    char *token = NULL;
    IS(0, cv_plan_token(plan, &token));
    IS(0, cv_plan_text(plan, &s));
    expect(token && s && strstr(s, token), "a plan shows its token");
    cv_string_free(s);
    IS(0, cv_plan_svg(plan, &s));
    expect(s && !strncmp(s, "<svg ", 5) && strstr(s, token), "so does its picture");
    cv_string_free(s);
    cv_string_free(token);
    to.actions_json = "{";
    IS(-CV_E_INVALID, cv_plan_apply(plan, "x", &to, NULL, NULL, &s));
    to.actions_json = NULL;
    to.hostname = "no good";
    IS(-CV_E_INVALID, cv_plan_apply(plan, "x", &to, NULL, NULL, &s));
    IS(0, cv_plan_free(plan));
    IS(0, cv_layout_free(layout));
}

void config_functions(const char *tree) {
    char *s = NULL;
    cv_job *job;
    static const char actions[] = "[{\"write-file\": {\"path\": \"/issue\", \"content\": \"x\"}}]";
    NULL_IS_ERROR(cv_config_apply, root, cv_config_apply(NULL, actions, NULL, NULL, &s));
    NULL_IS_ERROR(cv_config_apply, actions_json, cv_config_apply(tree, NULL, NULL, NULL, &s));
    NULL_IS_ERROR(cv_config_apply, outcomes_json, cv_config_apply(tree, actions, NULL, NULL, NULL));
    NULL_IS_ERROR(cv_config_apply_start, root, cv_config_apply_start(NULL, actions, &job));
    NULL_IS_ERROR(cv_config_apply_start, actions_json, cv_config_apply_start(tree, NULL, &job));
    NULL_IS_ERROR(cv_config_apply_start, job, cv_config_apply_start(tree, actions, NULL));
    IS(-CV_E_INVALID, cv_config_apply(tree, "[{\"none\": 1}]", NULL, NULL, &s));
    NULL_IS_FINE(cv_config_apply, on_event, cv_config_apply(tree, actions, NULL, NULL, &s));
    expect(s && !strcmp(s, "[\"created\"]"), "a file is made");
    cv_string_free(s);
    s = NULL;
    NULL_IS_FINE(cv_config_apply, user, cv_config_apply("/none", actions, refuse, NULL, &s));
    IS(0, cv_config_apply_start(tree, actions, &job));
    IS(0, cv_job_result(job, &s));
    expect(s && !strcmp(s, "[\"unchanged\"]"), "a file is there");
    cv_string_free(s);
    IS(0, cv_job_free(job));
}
