//! Small components, written by hand.

use assemble::{DELEGATE, HANDLE, component};

const QUIET: &str = r#"
(func (export "upstart:adapter/calls@0.1.0#init") (param i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
(func (export "upstart:adapter/calls@0.1.0#on-recover")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
"#;

/// Remembers the body that was sent to a target, and tells the same farther on; a target of 5 bytes traps.
const FOLLOWS: &str = r#"(func (export "upstart:adapter/calls@0.1.0#observe")
  (param $direction i32) (param $case i32) (param $method i32) (param $method_length i32) (param $target i32) (param $target_length i32)
  (param $headers i32) (param $headers_length i32) (param $body i32) (param $body_length i32)
  (param $replied i32) (param $status i32) (param $its_headers i32) (param $its_headers_length i32) (param $its_body i32) (param $its_body_length i32)
  (result i32)
  (if (i32.eq (local.get $target_length) (i32.const 5)) (then unreachable))
  (call $set (i32.add (local.get $target) (i32.const 1)) (i32.sub (local.get $target_length) (i32.const 1))
    (local.get $body) (local.get $body_length) (i32.const 96))
  (i32.store (i32.const 320) (local.get $direction))
  (i32.store (i32.const 324) (local.get $case))
  (i32.store (i32.const 328) (local.get $method)) (i32.store (i32.const 332) (local.get $method_length))
  (i32.store (i32.const 336) (local.get $target)) (i32.store (i32.const 340) (local.get $target_length))
  (i32.store (i32.const 344) (local.get $headers)) (i32.store (i32.const 348) (local.get $headers_length))
  (i32.store (i32.const 352) (local.get $body)) (i32.store (i32.const 356) (local.get $body_length))
  (i32.store (i32.const 360) (local.get $replied))
  (i32.store (i32.const 364) (local.get $status))
  (i32.store (i32.const 368) (local.get $its_headers)) (i32.store (i32.const 372) (local.get $its_headers_length))
  (i32.store (i32.const 376) (local.get $its_body)) (i32.store (i32.const 380) (local.get $its_body_length))
  (i32.store (i32.const 288) (i32.const 0))
  (i32.store (i32.const 292) (i32.const 320)) (i32.store (i32.const 296) (i32.const 1))
  (i32.const 288))"#;

/// A component whose `handle` is this, and whose `init` and `on-recover` do nothing.
pub(crate) fn handling(body: &str) -> Vec<u8> {
    component(&format!("{QUIET}\n{HANDLE}\n{body})"))
}

/// A store of texts, by target: `GET` answers with what is remembered, everything else remembers the body and delegates.
/// `init` remembers how it began under `began`, `on-recover` the target under `recovered`; the target `/trap` traps when it
/// has delegated, `/trap-first` before.
pub(crate) fn remembering() -> Vec<u8> {
    component(&memory())
}

/// The same, which follows calls at its next version as if they were its own.
pub(crate) fn following_memory() -> Vec<u8> {
    component(&format!("{FOLLOWS}{}", memory()))
}

fn memory() -> String {
    format!(
        r#"
(func (export "upstart:adapter/calls@0.1.0#init") (param i32 i32 i32 i32) (result i32)
  (i32.store8 (i32.const 60) (i32.add (i32.const 48) (local.get 1)))
  (call $set (i32.const 32) (i32.const 5) (i32.const 60) (i32.const 1) (i32.const 96))
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
(func (export "upstart:adapter/calls@0.1.0#on-recover")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (call $set (i32.const 16) (i32.const 9) (local.get 3) (local.get 4) (i32.const 96))
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
{HANDLE}
  (if (i32.eq (i32.load8_u (local.get $method)) (i32.const 71))
    (then
      ;; Without the slash in front.
      (call $get (i32.add (local.get $target) (i32.const 1)) (i32.sub (local.get $target_length) (i32.const 1)) (i32.const 96))
      (i32.store (i32.const 128) (i32.const 0))
      (i32.store (i32.const 132) (i32.const 0))
      (i32.store (i32.const 136) (i32.add (i32.const 200) (i32.mul (i32.const 204) (i32.eqz (i32.load8_u (i32.const 96))))))
      (i32.store (i32.const 140) (i32.const 0))
      (i32.store (i32.const 144) (i32.const 0))
      (i32.store (i32.const 148) (i32.load (i32.const 100)))
      (i32.store (i32.const 152) (i32.mul (i32.load8_u (i32.const 96)) (i32.load (i32.const 104))))
      (return (i32.const 128))))
  (call $set (i32.add (local.get $target) (i32.const 1)) (i32.sub (local.get $target_length) (i32.const 1))
    (local.get $body) (local.get $body_length) (i32.const 96))
  (if (i32.eq (local.get $target_length) (i32.const 11)) (then unreachable))
  {DELEGATE}
  (if (i32.eq (local.get $target_length) (i32.const 5)) (then unreachable))
  (i32.const 128))"#
    )
}

/// A component that imports something that no adapter is given.
pub(crate) fn foreign() -> Vec<u8> {
    let text = r#"(component (import "wasi:sockets/network@0.2.0" (instance)))"#;
    wat::parse_str(text).expect("a component")
}
