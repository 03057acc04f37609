/* Why multicast does not arrive. Nothing here may wait for somebody: there is no interface none0. */
#include "null.h"

void doctor_functions(void) {
    char *s = NULL;
    cv_job *job;
    cv_doctor_mcast_options o = {0};
    o.size = sizeof o;
    NULL_IS_ERROR(cv_doctor_mcast_send, interface, cv_doctor_mcast_send(NULL, &o, NULL, NULL, &s));
    NULL_IS_ERROR(cv_doctor_mcast_send, found_json, cv_doctor_mcast_send("lo", &o, NULL, NULL, NULL));
    NULL_IS_FINE(cv_doctor_mcast_send, options, cv_doctor_mcast_send("none0", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_doctor_mcast_send, on_event, cv_doctor_mcast_send("none0", &o, NULL, NULL, &s));
    NULL_IS_FINE(cv_doctor_mcast_send, user, cv_doctor_mcast_send("lo", &o, refuse, NULL, &s));
    IS(-CV_E_CANCELLED, cv_doctor_mcast_send("lo", &o, refuse, NULL, &s));
    NULL_IS_ERROR(cv_doctor_mcast_send_start, interface, cv_doctor_mcast_send_start(NULL, &o, &job));
    NULL_IS_ERROR(cv_doctor_mcast_send_start, job, cv_doctor_mcast_send_start("lo", &o, NULL));
    NULL_IS_FINE(cv_doctor_mcast_send_start, options, cv_doctor_mcast_send_start("none0", NULL, &job));
    IS(-CV_E_NOT_FOUND, cv_job_result(job, &s));
    IS(0, cv_job_free(job));

    NULL_IS_ERROR(cv_doctor_mcast_recv, interface, cv_doctor_mcast_recv(NULL, &o, NULL, NULL, &s));
    NULL_IS_ERROR(cv_doctor_mcast_recv, found_json, cv_doctor_mcast_recv("lo", &o, NULL, NULL, NULL));
    NULL_IS_FINE(cv_doctor_mcast_recv, options, cv_doctor_mcast_recv("none0", NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_doctor_mcast_recv, on_event, cv_doctor_mcast_recv("none0", &o, NULL, NULL, &s));
    NULL_IS_FINE(cv_doctor_mcast_recv, user, cv_doctor_mcast_recv("lo", &o, refuse, NULL, &s));
    IS(-CV_E_CANCELLED, cv_doctor_mcast_recv("lo", &o, refuse, NULL, &s));
    NULL_IS_ERROR(cv_doctor_mcast_recv_start, interface, cv_doctor_mcast_recv_start(NULL, &o, &job));
    NULL_IS_ERROR(cv_doctor_mcast_recv_start, job, cv_doctor_mcast_recv_start("lo", &o, NULL));
    NULL_IS_FINE(cv_doctor_mcast_recv_start, options, cv_doctor_mcast_recv_start("none0", NULL, &job));
    IS(-CV_E_NOT_FOUND, cv_job_result(job, &s));
    IS(0, cv_job_free(job));
    o.receivers = 1;
    IS(-CV_E_INVALID, cv_doctor_mcast_recv("lo", &o, NULL, NULL, &s));
    o.time_ms = 3600001;
    IS(-CV_E_INVALID, cv_doctor_mcast_send("lo", &o, NULL, NULL, &s));
    o.size = 1;
    IS(-CV_E_INVALID, cv_doctor_mcast_send("lo", &o, NULL, NULL, &s));
}
