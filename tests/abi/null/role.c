/* Roles. */
#include "null.h"

void role_functions(void) {
    static const char document[] = "schema: cv.role/v1\nname: own\nextends: minimal\npackages: [htop]\n";
    char *s = NULL;
    cv_role *role = NULL;
    NULL_IS_ERROR(cv_role_parse, document, cv_role_parse(NULL, "r", &role));
    NULL_IS_ERROR(cv_role_parse, name, cv_role_parse(document, NULL, &role));
    NULL_IS_ERROR(cv_role_parse, role, cv_role_parse(document, "r", NULL));
    NULL_IS_ERROR(cv_role_find, name_or_file, cv_role_find(NULL, NULL, 0, &role));
    NULL_IS_ERROR(cv_role_find, search, cv_role_find("node", NULL, 1, &role));
    NULL_IS_ERROR(cv_role_find, role, cv_role_find("node", NULL, 0, NULL));
    NULL_IS_ERROR(cv_role_check, document, cv_role_check(NULL, "r", &s));
    NULL_IS_ERROR(cv_role_check, name, cv_role_check(document, NULL, &s));
    NULL_IS_ERROR(cv_role_check, diagnostics_json, cv_role_check(document, "r", NULL));
    NULL_IS_ERROR(cv_role_check_file, file, cv_role_check_file(NULL, NULL, 0, &s));
    NULL_IS_ERROR(cv_role_check_file, search, cv_role_check_file("/none", NULL, 1, &s));
    NULL_IS_ERROR(cv_role_check_file, diagnostics_json, cv_role_check_file("/none", NULL, 0, NULL));
    NULL_IS_ERROR(cv_role_schema, schema_json, cv_role_schema(NULL));
    NULL_IS_FINE(cv_role_free, role, cv_role_free(NULL));
    IS(-CV_E_NOT_FOUND, cv_role_find("nothing-like-it", NULL, 0, &role));
    IS(-CV_E_NOT_FOUND, cv_role_find("/none/role.yaml", NULL, 0, &role));
    IS(-CV_E_NOT_FOUND, cv_role_check_file("/none/role.yaml", NULL, 0, &s));
    IS(-CV_E_INVALID, cv_role_parse("name: [", "r", &role));
    expect(strstr(cv_last_error()->json, "diagnostics") != NULL, "what is wrong with a role is in the detail");
    IS(0, cv_role_check("name: [", "r", &s));
    expect(s && strstr(s, "R002") != NULL, "what is wrong with a role");
    cv_string_free(s);
    IS(0, cv_role_schema(&s));
    cv_string_free(s);
    IS(0, cv_role_parse(document, "r", &role));
    NULL_IS_ERROR(cv_role_name, role, cv_role_name(NULL, &s));
    NULL_IS_ERROR(cv_role_name, name, cv_role_name(role, NULL));
    NULL_IS_ERROR(cv_role_json, role, cv_role_json(NULL, NULL, &s));
    NULL_IS_ERROR(cv_role_json, document_json, cv_role_json(role, NULL, NULL));
    NULL_IS_ERROR(cv_role_yaml, role, cv_role_yaml(NULL, &s));
    NULL_IS_ERROR(cv_role_yaml, document, cv_role_yaml(role, NULL));
    NULL_IS_ERROR(cv_role_digest, role, cv_role_digest(NULL, &s));
    NULL_IS_ERROR(cv_role_digest, digest, cv_role_digest(role, NULL));
    NULL_IS_FINE(cv_role_json, system, cv_role_json(role, NULL, &s));
    expect(s && strstr(s, "linux-image-amd64") != NULL, "all that it extends is in it");
    cv_string_free(s);
    IS(0, cv_role_json(role, "el9", &s));
    expect(s && strstr(s, "\"kernel\"") != NULL && !strstr(s, "linux-image"), "what it says of one system");
    cv_string_free(s);
    IS(-CV_E_INVALID, cv_role_json(role, "rocky", &s));
    IS(0, cv_role_yaml(role, &s));
    expect(s && strstr(s, "name: own") != NULL, "a role as YAML");
    cv_string_free(s);
    IS(0, cv_role_digest(role, &s));
    expect(s && strlen(s) == 64, "a digest has 64 digits");
    cv_string_free(s);
    IS(0, cv_role_free(role));
}
