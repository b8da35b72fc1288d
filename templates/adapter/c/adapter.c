// The adapter: in version 1 an item has a `colour`, in version 2 a `tint`, and the paths begin with the version.
//
// `rename.c` has what changes; here is only what an adapter must have. The functions and types with long names are those of `wit/calls.wit`;
// wit-bindgen writes them into `bindings/`.
#include "calls_adapter.h"
#include "rename.h"

#include <stdlib.h>
#include <string.h>

// A version of the software: how its paths begin, and what it calls an item's colour.
struct version {
    const char *prefix;
    const char *colour;
};

static const struct version ONE = {"/v1/", "colour"};
static const struct version TWO = {"/v2/", "tint"};

static void refuse(const char *reason, upstart_adapter_messages_failure_t *failure) {
    failure->tag = UPSTART_ADAPTER_MESSAGES_FAILURE_REFUSED;
    calls_adapter_string_dup(&failure->val.refused.reason, reason);
    failure->val.refused.reply.is_some = false;
}

// Renames the colour in a body, which is replaced; false with the reason where it cannot be.
static bool rename_body(calls_adapter_list_u8_t *body, struct version from, struct version to, const char **why) {
    if (body->len == 0) return true;
    size_t length;
    char *renamed = rename_member((const char *)body->ptr, body->len, from.colour, to.colour, &length, why);
    if (renamed == NULL) return false;
    free(body->ptr);
    body->ptr = (uint8_t *)renamed;
    body->len = length;
    return true;
}

static bool rename_path(calls_adapter_string_t *target, struct version from, struct version to) {
    size_t length;
    char *renamed = rename_target((const char *)target->ptr, target->len, from.prefix, to.prefix, &length);
    if (renamed == NULL) return false;
    free(target->ptr);
    target->ptr = (uint8_t *)renamed;
    target->len = length;
    return true;
}

static bool begins(const calls_adapter_string_t *text, const char *with) {
    return text->len >= strlen(with) && memcmp(text->ptr, with, strlen(with)) == 0;
}

// An answer that is no JSON object, such as an error's text, stays as it is.
static bool is_json(const upstart_adapter_messages_http_reply_t *reply) {
    for (size_t i = 0; i < reply->headers.len; i++) {
        const upstart_adapter_messages_header_t *header = &reply->headers.ptr[i];
        if (begins(&header->name, "content-type") && begins(&header->value, "application/json")) return true;
    }
    return false;
}

bool exports_upstart_adapter_calls_handle(exports_upstart_adapter_calls_call_t *call, exports_upstart_adapter_calls_caller_t *caller,
                                          exports_upstart_adapter_calls_reply_t *reply,
                                          exports_upstart_adapter_calls_failure_t *failure) {
    bool is_past = caller->direction == UPSTART_ADAPTER_TYPES_DIRECTION_PAST;
    struct version ours = is_past ? ONE : TWO, theirs = is_past ? TWO : ONE;
    const char *why = "only HTTP is spoken here";
    bool is_renamed = call->tag == UPSTART_ADAPTER_MESSAGES_CALL_HTTP;
    if (is_renamed) {
        upstart_adapter_messages_http_request_t *request = &call->val.http;
        why = "no path of this version";
        is_renamed = rename_path(&request->target, ours, theirs) && rename_body(&request->body, ours, theirs, &why);
    }
    bool is_answered = is_renamed && upstart_adapter_next_delegate(call, reply, failure);
    if (!is_renamed) refuse(why, failure);
    upstart_adapter_messages_call_free(call);
    exports_upstart_adapter_calls_caller_free(caller);
    if (!is_answered) return false;
    if (reply->tag == UPSTART_ADAPTER_MESSAGES_REPLY_HTTP && is_json(&reply->val.http) &&
        !rename_body(&reply->val.http.body, theirs, ours, &why)) {
        upstart_adapter_messages_reply_free(reply);
        refuse(why, failure);
        return false;
    }
    return true;
}

// Nothing is kept between calls: there is no state to begin with, to recover or to follow.
bool exports_upstart_adapter_calls_init(exports_upstart_adapter_calls_start_t *start, calls_adapter_string_t *error) {
    (void)start;
    (void)error;
    return true;
}

bool exports_upstart_adapter_calls_on_recover(exports_upstart_adapter_calls_unfinished_t *call, calls_adapter_string_t *error) {
    (void)error;
    exports_upstart_adapter_calls_unfinished_free(call);
    return true;
}

bool exports_upstart_adapter_calls_observe(exports_upstart_adapter_calls_observation_t *seen,
                                           exports_upstart_adapter_calls_list_observation_t *outer, calls_adapter_string_t *error) {
    (void)error;
    exports_upstart_adapter_calls_observation_free(seen);
    outer->ptr = NULL;
    outer->len = 0;
    return true;
}
