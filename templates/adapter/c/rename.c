// Renames without decoding: one pass over the text finds the member, and its name is replaced where it stands.
#include "rename.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// `text` with the bytes from `begin` to `end` replaced.
static char *replaced(const char *text, size_t length, size_t begin, size_t end, const char *with, size_t *out_length) {
    size_t inserted = strlen(with);
    *out_length = length - (end - begin) + inserted;
    char *out = malloc(*out_length + 1);
    if (out == NULL) abort();
    memcpy(out, text, begin);
    memcpy(out + begin, with, inserted);
    memcpy(out + begin + inserted, text + end, length - end);
    out[*out_length] = 0;
    return out;
}

char *rename_target(const char *target, size_t length, const char *from, const char *to, size_t *out_length) {
    size_t prefix = strlen(from);
    if (length < prefix || memcmp(target, from, prefix) != 0) return NULL;
    return replaced(target, length, 0, prefix, to, out_length);
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(const char *json, size_t length, size_t at) {
    while (at < length && is_space(json[at])) at++;
    return at;
}

// Where the string that opens at `at` ends: behind its closing quote, or `length`.
static size_t skip_string(const char *json, size_t length, size_t at) {
    for (at++; at < length && json[at] != '"'; at++) {
        if (json[at] == '\\') at++;
    }
    return at < length ? at + 1 : length;
}

static bool is_name(const char *json, size_t begin, size_t end, const char *name) {
    return end - begin == strlen(name) && memcmp(json + begin, name, end - begin) == 0;
}

char *rename_member(const char *json, size_t length, const char *from, const char *to, size_t *out_length, const char **why) {
    size_t at = skip_space(json, length, 0);
    size_t depth = 0, begin = 0, end = 0;
    *why = "the body is no JSON object";
    if (at == length || json[at] != '{') return NULL;
    do {
        char c = json[at];
        if (c == '"') {
            size_t after = skip_string(json, length, at);
            size_t next = skip_space(json, length, after);
            // A string before a colon, directly in the object, is a member's name.
            if (depth == 1 && next < length && json[next] == ':') {
                if (is_name(json, at + 1, after - 1, to)) {
                    *why = "the body has a name of the other version";
                    return NULL;
                }
                if (is_name(json, at + 1, after - 1, from)) {
                    if (end != 0) return NULL;
                    begin = at + 1;
                    end = after - 1;
                }
            }
            at = after;
            continue;
        }
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        at++;
    } while (at < length && depth > 0);
    if (depth > 0 || skip_space(json, length, at) != length) return NULL;
    return replaced(json, length, begin, end, end != 0 ? to : "", out_length);
}
