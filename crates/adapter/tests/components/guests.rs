//! Small components, written by hand.

use crate::assemble::{DELEGATE, HANDLE, component};

const QUIET: &str = r#"
(func (export "upstart:adapter/calls@0.1.0#init") (param i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
(func (export "upstart:adapter/calls@0.1.0#on-recover")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
"#;

/// A component whose `handle` is this, and whose `init` and `on-recover` do nothing.
pub(crate) fn handling(body: &str) -> Vec<u8> {
    component(&format!("{QUIET}\n{HANDLE}\n{body})"))
}

/// A store of texts, by target: `GET` answers with what is remembered, everything else remembers the body and delegates.
/// `init` remembers how it began under `began`, `on-recover` the target under `recovered`; the target `/trap` traps when it
/// has delegated, `/trap-first` before.
pub(crate) fn remembering() -> Vec<u8> {
    component(&format!(
        r#"
(func (export "upstart:adapter/calls@0.1.0#init") (param i32 i32 i32 i32) (result i32)
  (i32.store8 (i32.const 60) (i32.add (i32.const 48) (local.get 1)))
  (call $set (i32.const 32) (i32.const 5) (i32.const 60) (i32.const 1) (i32.const 96))
  (i32.store (i32.const 64) (i32.const 0)) (i32.const 64))
(func (export "upstart:adapter/calls@0.1.0#on-recover")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
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
    ))
}

/// A component that imports something that no adapter is given.
pub(crate) fn foreign() -> Vec<u8> {
    let text = r#"(component (import "wasi:sockets/network@0.2.0" (instance)))"#;
    wat::parse_str(text).expect("a component")
}
