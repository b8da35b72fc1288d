// Tests of what changes between the versions.
#include "rename.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void check(const char *what, const char *found, const char *expected) {
    bool same = found == NULL || expected == NULL ? found == expected : strcmp(found, expected) == 0;
    if (same) return;
    failures++;
    printf("%s: expected %s, found %s\n", what, expected ? expected : "a refusal", found ? found : "a refusal");
}

static void check_target(const char *target, const char *expected) {
    size_t length;
    char *found = rename_target(target, strlen(target), "/v1/", "/v2/", &length);
    check(target, found, expected);
    free(found);
}

static void check_body(const char *body, const char *from, const char *to, const char *expected) {
    size_t length;
    const char *why;
    char *found = rename_member(body, strlen(body), from, to, &length, &why);
    check(body, found, expected);
    free(found);
}

int main(void) {
    check_target("/v1/items/7?full=1", "/v2/items/7?full=1");
    check_target("/v2/items/7", NULL);
    check_body("{\"id\":7,\"colour\":\"red\"}", "colour", "tint", "{\"id\":7,\"tint\":\"red\"}");
    check_body("{\"id\":7,\"tint\":\"red\"}", "tint", "colour", "{\"id\":7,\"colour\":\"red\"}");
    // A value, and a member of a member, are no member's name.
    check_body("{\"a\":\"colour\",\"b\":{\"colour\":1}}", "colour", "tint", "{\"a\":\"colour\",\"b\":{\"colour\":1}}");
    check_body("{\"a\\\"\":1, \"colour\" : 2}", "colour", "tint", "{\"a\\\"\":1, \"tint\" : 2}");
    check_body("{\"tint\":\"red\"}", "colour", "tint", NULL);
    check_body("{\"colour\":1,\"colour\":2}", "colour", "tint", NULL);
    check_body("[]", "colour", "tint", NULL);
    check_body("{\"colour\":\"red", "colour", "tint", NULL);
    check_body("{} {}", "colour", "tint", NULL);
    check_body("no", "colour", "tint", NULL);
    if (failures == 0) printf("ok\n");
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
