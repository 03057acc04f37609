/* A distribution from C: added with a job, listed, described, verified, removed; a key that it has not, and a package that
 * is another.
 *
 *   distro /tmp/an-empty-directory
 */
#define _DEFAULT_SOURCE
#include <string.h>
#include <sys/stat.h>

#include "check.h"

/* A file with one package, and what describes it: sums as sha256sum gives them. */
static const char package[] = "not a package, but a file with a name";
static const char primary[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"1\">\n"
    "<package type=\"rpm\"><name>rocky-release</name><arch>noarch</arch><version epoch=\"0\" ver=\"9.4\" rel=\"1.el9\"/>\n"
    "<checksum type=\"sha256\" pkgid=\"YES\">2cc554da2ad8a1a9058decd0a23c4b80dcdf67b26802391f7116a5d83b37721c</checksum><summary>s</summary><description/><packager/><url/>\n"
    "<time file=\"1\" build=\"1\"/><size package=\"37\" installed=\"1\" archive=\"1\"/>\n"
    "<location href=\"Packages/rocky-release.rpm\"/>\n"
    "<format><rpm:license>MIT</rpm:license><rpm:header-range start=\"0\" end=\"10\"/></format></package></metadata>\n";
static const char repomd[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1</revision>\n"
    "<data type=\"primary\"><checksum type=\"sha256\">6eeea0fb82b2b2d587b36797bf56e91f1f16443f4ac820c3a3fc9df880c8c00d</checksum>\n"
    "<location href=\"repodata/primary.xml\"/></data></repomd>\n";
static const char treeinfo[] =
    "[release]\nname = Rocky Linux\nshort = Rocky\nversion = 9.4\n[tree]\narch = x86_64\nvariants = BaseOS\n"
    "[variant-BaseOS]\nid = BaseOS\nrepository = BaseOS\npackages = BaseOS/Packages\n";

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

/* Counts the events. */
static int32_t count(const char *event_json, void *user) {
    (void)event_json;
    ++*(int *)user;
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    snprintf(dir, sizeof dir, "%s", argv[1]);
    const char *dirs[] = {"media", "media/BaseOS", "media/BaseOS/Packages", "media/BaseOS/repodata"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) WANT(!mkdir(in(dirs[i]), 0755));
    write_file(in("media/BaseOS/Packages/rocky-release.rpm"), package);
    write_file(in("media/BaseOS/repodata/primary.xml"), primary);
    write_file(in("media/BaseOS/repodata/repomd.xml"), repomd);
    write_file(in("media/.treeinfo"), treeinfo);
    cv_store *store;
    MUST(cv_store_init(in("store"), &store));
    char *json = NULL;
    cv_job *job;

    cv_distro_options options = {0};
    options.size = sizeof options;
    options.threads = 1;
    MUST(cv_distro_add_start(store, in("media"), &options, &job));
    MUST(cv_job_result(job, &json));
    has(json, "\"name\":\"rocky-9.4\"");
    MUST(cv_job_free(job));
    int heard = 0;
    MUST(cv_distro_add(store, in("media"), NULL, count, &heard, &json));
    WANT(heard > 0);
    has(json, "\"changed\":false");
    options.name = "second";
    options.sha256 = "00";
    WANT(cv_distro_add(store, in("media"), &options, NULL, NULL, &json) == -CV_E_INVALID);
    options.sha256 = NULL;
    MUST(cv_distro_add(store, in("media"), &options, NULL, NULL, &json));
    cv_string_free(json);
    MUST(cv_distro_list(store, &json));
    WANT(strstr(json, "\"name\":\"rocky-9.4\""));
    has(json, "\"name\":\"second\"");
    MUST(cv_distro_info(store, "second", &json));
    WANT(strstr(json, "\"kind\":\"directory\""));
    has(json, "\"repositories\":[{\"id\":\"BaseOS\",\"path\":\"BaseOS\",\"packages\":1");
    MUST(cv_distro_verify(store, "second", 0, NULL, NULL, &json));
    WANT(strstr(json, "\"packages\":1"));
    has(json, "\"faults\":[]");
    MUST(cv_distro_remove(store, "second"));
    WANT(cv_distro_info(store, "second", &json) == -CV_E_NOT_FOUND);

    /* The same from afar, into a store behind a server. */
    cv_store *away, *far;
    cv_server *server;
    char *address, *token, url[4096];
    MUST(cv_store_init(in("away"), &away));
    MUST(cv_server_start(away, "127.0.0.1:0", NULL, &server));
    MUST(cv_server_address(server, &address));
    WANT(snprintf(url, sizeof url, "http://%s", address) < (int)sizeof url);
    cv_string_free(address);
    MUST(cv_token_create(away, "distro.rocky-9.4", 0, 0, &token));
    cv_http_options http = {0};
    http.size = sizeof http;
    http.token = token;
    MUST(cv_store_open_http(url, &http, &far));
    MUST(cv_distro_add(far, in("media"), NULL, NULL, NULL, &json));
    has(json, "\"changed\":true");
    MUST(cv_distro_list(away, &json));
    has(json, "\"name\":\"rocky-9.4\"");
    MUST(cv_store_free(far));
    cv_string_free(token);
    MUST(cv_server_stop(server, 10000));
    MUST(cv_server_free(server));
    MUST(cv_store_free(away));

    /* A package that is another is found, and named; a key that is none is not taken. */
    write_file(in("media/BaseOS/Packages/rocky-release.rpm"), "not the package, but of the same length!" + 3);
    options.name = "bad";
    MUST(cv_distro_add(store, in("media"), &options, NULL, NULL, &json));
    cv_string_free(json);
    MUST(cv_distro_verify_start(store, "bad", 1, &job));
    MUST(cv_job_result(job, &json));
    has(json, "\"package\":\"rocky-release-9.4-1.el9.noarch\"");
    MUST(cv_job_free(job));
    char key[4096];
    snprintf(key, sizeof key, "%s", in("media/.treeinfo"));
    const char *keys[] = {key};
    options.keys = keys;
    options.key_count = 1;
    WANT(cv_distro_add(store, in("media"), &options, NULL, NULL, &json) == -CV_E_INVALID);
    write_file(in("media/BaseOS/repodata/primary.xml"), "x");
    WANT(cv_distro_add(store, in("media"), NULL, NULL, NULL, &json) == -CV_E_INTEGRITY);
    cv_store_free(store);
    return 0;
}
