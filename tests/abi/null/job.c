/* Jobs. */
#include "null.h"

void job_functions(cv_job *job) {
    char *s;
    bool finished = false;
    NULL_IS_FINE(cv_job_free, job, cv_job_free(NULL));
    NULL_IS_ERROR(cv_job_id, job, cv_job_id(NULL, &s));
    NULL_IS_ERROR(cv_job_id, id, cv_job_id(job, NULL));
    NULL_IS_ERROR(cv_job_report, job, cv_job_report(NULL, &s));
    NULL_IS_ERROR(cv_job_report, report_json, cv_job_report(job, NULL));
    NULL_IS_ERROR(cv_job_poll, job, cv_job_poll(NULL, &finished));
    NULL_IS_ERROR(cv_job_poll, finished, cv_job_poll(job, NULL));
    NULL_IS_ERROR(cv_job_wait, job, cv_job_wait(NULL, 0));
    NULL_IS_ERROR(cv_job_cancel, job, cv_job_cancel(NULL));
    NULL_IS_ERROR(cv_job_next_event, job, cv_job_next_event(NULL, 0, &s));
    NULL_IS_ERROR(cv_job_next_event, event_json, cv_job_next_event(job, 0, NULL));
    NULL_IS_ERROR(cv_job_result, job, cv_job_result(NULL, &s));
    NULL_IS_ERROR(cv_job_result, result_json, cv_job_result(job, NULL));
    int events = 0;
    while (cv_job_next_event(job, -1, &s) == 0 && s) {
        events++;
        cv_string_free(s);
    }
    expect(events >= 2, "a job has a first and a last event");
    IS(0, cv_job_wait(job, -1));
    s = NULL;
    IS(0, cv_job_result(job, &s));
    cv_string_free(s);
    IS(-CV_E_MISUSE, cv_job_result(job, &s));
}
