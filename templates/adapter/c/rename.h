// What changes between the versions, as functions of their own, so that a native test can try them.
#pragma once

#include <stddef.h>

// Replaces the beginning `from` of a path by `to`. Returns a new text of `*out_length` bytes, or NULL where the path begins otherwise.
char *rename_target(const char *target, size_t length, const char *from, const char *to, size_t *out_length);

// Renames the member `from` of a JSON object to `to`; everything else stays as it is. Returns a new text of `*out_length` bytes, or
// NULL with the reason in `*why`.
char *rename_member(const char *json, size_t length, const char *from, const char *to, size_t *out_length, const char **why);
