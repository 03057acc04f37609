/* NULL for each pointer of each function: an error where it is none, and never a crash. Then handles that are wrong.
 * The test `null_is_tried_for_each_pointer` reads these files and the header, and finds what is missing here.
 */
#ifndef NULL_H
#define NULL_H
#define _DEFAULT_SOURCE
#include <libcv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Counts, and says what failed. */
void expect(int ok, const char *what);

/* The call must fail with Invalid, and say which argument. */
#define NULL_IS_ERROR(function, argument, call) \
    expect((call) == -CV_E_INVALID && strstr(cv_last_error()->message, "NULL"), #function ": " #argument)
/* The call must not crash. */
#define NULL_IS_FINE(function, argument, call) ((void)(call), expect(1, #function ": " #argument))
#define IS(code, call) expect((call) == (code), #call)
#define CHECK(what) expect(!!(what), #what)

/* Cancels what it hears of. */
int32_t refuse(const char *event_json, void *user);

void store_functions(cv_store *store, const char *dir, const char *tree);
void image_functions(cv_image *image, const char *dir);
void update_functions(cv_image *image, const char *dir);
void diff_functions(cv_store *store, cv_image *a);
void sign_functions(cv_store *store, cv_image *image, const char *dir);
void secret_options(cv_store *store, const char *dir);
void convert_functions(cv_store *store, cv_image *image, const char *dir);
void tar_functions(cv_store *store, cv_image *image, const char *dir);
void layout_functions(cv_image *image, const char *dir);
void config_functions(const char *tree);
void packages_functions(cv_image *image);
void role_functions(void);
void distro_functions(cv_store *store, const char *dir);
void build_functions(cv_store *store);
void doctor_functions(void);
void multicast_functions(cv_image *image, const char *dir);
void server_functions(cv_store *store, const char *dir);
void job_functions(cv_job *job);

#endif
