/* Packages and bills of materials. */
#include "null.h"

void packages_functions(cv_image *image) {
    char *s = NULL;
    NULL_IS_ERROR(cv_image_packages, image, cv_image_packages(NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_packages, on_event, cv_image_packages(image, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_packages, user, cv_image_packages(image, refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_packages, packages_json, cv_image_packages(image, NULL, NULL, NULL));
    IS(-CV_E_NOT_FOUND, cv_image_packages(image, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_sbom, image, cv_image_sbom(NULL, "spdx", NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_sbom, format, cv_image_sbom(image, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_sbom, on_event, cv_image_sbom(image, "spdx", NULL, NULL, &s));
    NULL_IS_FINE(cv_image_sbom, user, cv_image_sbom(image, "spdx", refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_sbom, document_json, cv_image_sbom(image, "spdx", NULL, NULL, NULL));
    IS(-CV_E_INVALID, cv_image_sbom(image, "swid", NULL, NULL, &s));
    IS(-CV_E_NOT_FOUND, cv_image_sbom(image, "cyclonedx", NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_diff_packages, before, cv_image_diff_packages(NULL, image, NULL, NULL, &s));
    NULL_IS_ERROR(cv_image_diff_packages, after, cv_image_diff_packages(image, NULL, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_diff_packages, on_event, cv_image_diff_packages(image, image, NULL, NULL, &s));
    NULL_IS_FINE(cv_image_diff_packages, user, cv_image_diff_packages(image, image, refuse, NULL, &s));
    NULL_IS_ERROR(cv_image_diff_packages, changes_json, cv_image_diff_packages(image, image, NULL, NULL, NULL));
    IS(-CV_E_NOT_FOUND, cv_image_diff_packages(image, image, NULL, NULL, &s));
    CHECK(s == NULL);
}
