/* One image to many. Nothing here may wait for somebody: there is no interface none0. */
#include "null.h"

void multicast_functions(cv_image *image, const char *dir) {
    char *s = NULL, path[4200];
    cv_job *job;
    cv_mcast_send_options to = {0};
    to.size = sizeof to;
    cv_mcast_recv_options from = {0};
    from.size = sizeof from;
    cv_http_options h = {0};
    h.size = sizeof h;
    snprintf(path, sizeof path, "%s-received", dir);
    NULL_IS_ERROR(cv_mcast_send, image, cv_mcast_send(NULL, "lo", &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_mcast_send, interface, cv_mcast_send(image, NULL, &to, NULL, NULL, &s));
    NULL_IS_ERROR(cv_mcast_send, report_json, cv_mcast_send(image, "lo", &to, NULL, NULL, NULL));
    NULL_IS_FINE(cv_mcast_send, options, cv_mcast_send(image, "none0", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_mcast_send, on_event, cv_mcast_send(image, "none0", &to, NULL, NULL, &s));
    NULL_IS_FINE(cv_mcast_send, user, cv_mcast_send(image, "lo", &to, refuse, NULL, &s));
    IS(-CV_E_CANCELLED, cv_mcast_send(image, "lo", &to, refuse, NULL, &s));
    NULL_IS_ERROR(cv_mcast_send_start, image, cv_mcast_send_start(NULL, "lo", &to, &job));
    NULL_IS_ERROR(cv_mcast_send_start, interface, cv_mcast_send_start(image, NULL, &to, &job));
    NULL_IS_ERROR(cv_mcast_send_start, job, cv_mcast_send_start(image, "lo", &to, NULL));
    NULL_IS_FINE(cv_mcast_send_start, options, cv_mcast_send_start(image, "none0", NULL, &job));
    IS(-CV_E_NOT_FOUND, cv_job_result(job, &s));
    IS(0, cv_job_free(job));
    to.size = 1;
    IS(-CV_E_INVALID, cv_mcast_send(image, "lo", &to, NULL, NULL, &s));

    NULL_IS_ERROR(cv_mcast_recv, target, cv_mcast_recv(NULL, "lo", &from, &h, NULL, NULL, &s));
    NULL_IS_ERROR(cv_mcast_recv, interface, cv_mcast_recv(path, NULL, &from, &h, NULL, NULL, &s));
    NULL_IS_ERROR(cv_mcast_recv, delivered_json, cv_mcast_recv(path, "lo", &from, &h, NULL, NULL, NULL));
    NULL_IS_FINE(cv_mcast_recv, options, cv_mcast_recv(path, "none0", NULL, &h, NULL, NULL, &s));
    NULL_IS_FINE(cv_mcast_recv, mirrors, cv_mcast_recv(path, "none0", &from, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_mcast_recv, on_event, cv_mcast_recv(path, "none0", &from, &h, NULL, NULL, &s));
    NULL_IS_FINE(cv_mcast_recv, user, cv_mcast_recv(path, "lo", &from, &h, refuse, NULL, &s));
    IS(-CV_E_CANCELLED, cv_mcast_recv(path, "lo", &from, &h, refuse, NULL, &s));
    NULL_IS_ERROR(cv_mcast_recv_start, target, cv_mcast_recv_start(NULL, "lo", &from, &h, &job));
    NULL_IS_ERROR(cv_mcast_recv_start, interface, cv_mcast_recv_start(path, NULL, &from, &h, &job));
    NULL_IS_ERROR(cv_mcast_recv_start, job, cv_mcast_recv_start(path, "lo", &from, &h, NULL));
    NULL_IS_FINE(cv_mcast_recv_start, options, cv_mcast_recv_start(path, "none0", NULL, &h, &job));
    IS(-CV_E_NOT_FOUND, cv_job_result(job, &s));
    IS(0, cv_job_free(job));
    NULL_IS_FINE(cv_mcast_recv_start, mirrors, cv_mcast_recv_start(path, "none0", &from, NULL, &job));
    IS(0, cv_job_free(job));
    from.key_count = 1;
    IS(-CV_E_INVALID, cv_mcast_recv(path, "lo", &from, &h, NULL, NULL, &s));
}
