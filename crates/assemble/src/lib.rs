//! From a core module's text to a component of the contract: for tests whose guests are a few instructions.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What every guest has: the imports, memory that begins anew with each call, and exports that do nothing.
const HEAD: &str = r#"
(import "upstart:adapter/next@0.1.0" "delegate"
  (func $delegate (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
(import "upstart:adapter/state@0.1.0" "get" (func $get (param i32 i32 i32)))
(import "upstart:adapter/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
(import "upstart:adapter/state@0.1.0" "scan" (func $scan (param i32 i32 i32 i32 i32 i32 i32)))
(import "upstart:adapter/clock@0.1.0" "now" (func $now (result i64)))
(memory (export "memory") 1)
(global $heap (mut i32) (i32.const 8192))
(data (i32.const 16) "recovered")
(data (i32.const 32) "began")
(data (i32.const 48) "never")
(func $realloc (export "cabi_realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (block $fits
    (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
    (if (i32.eq (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1))) (i32.const -1))
      (then unreachable)))
  (local.get $at))
(func (export "cabi_post_upstart:adapter/calls@0.1.0#handle") (param i32)
  (global.set $heap (i32.const 8192)))
"#;

/// The export that follows calls.
const OBSERVE: &str = "calls@0.1.0#observe";

/// Follows nothing.
const DEAF: &str = r#"(func (export "upstart:adapter/calls@0.1.0#observe")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (unreachable))"#;

/// The parameters of `handle`: the call, then the caller.
pub const HANDLE: &str = r#"(func $handle (export "upstart:adapter/calls@0.1.0#handle")
  (param $case i32) (param $method i32) (param $method_length i32) (param $target i32) (param $target_length i32)
  (param $headers i32) (param $headers_length i32) (param $body i32) (param $body_length i32)
  (param $direction i32) (param $version i32) (param $address i32) (param $address_length i32) (param $service i32) (param $service_length i32)
  (result i32)
  (local $n i32)"#;

/// Delegates the call as it is, and leaves the reply at 128.
pub const DELEGATE: &str = r#"
  (call $delegate (local.get $case) (local.get $method) (local.get $method_length)
    (local.get $target) (local.get $target_length) (local.get $headers) (local.get $headers_length)
    (local.get $body) (local.get $body_length) (i32.const 128))"#;

/// A component made of such a module; it follows nothing where that does not say how.
pub fn component(body: &str) -> Vec<u8> {
    let deaf = if body.contains(OBSERVE) { "" } else { DEAF };
    of_world(&format!("(module {HEAD} {deaf} {body})"), "calls-adapter")
}

/// A component of one of the contract's worlds, made of a whole module.
pub fn of_world(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = Resolve::default();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wit = (here.ancestors().map(|folder| folder.join("wit"))).find(|wit| wit.is_dir());
    let wit = wit.expect("the contract's folder");
    let (package, _) = resolve.push_dir(wit).expect("the contract");
    let world = resolve
        .select_world(&[package], Some(world))
        .expect("the world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("a module of the world");
    ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .unwrap_or_else(|error| panic!("{error:#}"))
}
