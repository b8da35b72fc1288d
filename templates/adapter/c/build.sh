#!/bin/sh
# Builds NAME.wasm.
set -eu
cd "$(dirname "$0")"
wit-bindgen c wit --world calls-adapter --out-dir bindings
"${WASM_CC:-clang-19}" --target=wasm32-wasi -mexec-model=reactor -O2 -Wall -Wextra -Ibindings -o core.wasm \
  adapter.c rename.c bindings/calls_adapter.c bindings/calls_adapter_component_type.o
wasm-tools component new core.wasm -o NAME.wasm
