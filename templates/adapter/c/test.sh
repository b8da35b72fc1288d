#!/bin/sh
# Tests what changes between the versions.
set -eu
cd "$(dirname "$0")"
"${CC:-cc}" -Wall -Wextra -o test_rename rename.c test_rename.c
./test_rename
