;; Between the two versions of the peers: version 2's messages have a signature and a length in front (the host fills in the length),
;; and small letters. The memo is one byte: which of the two adapters this is (0 past, 1 future).
(module
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 4096))

  (func $take (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1))) (i32.const -1))
        (then unreachable)))
    (local.get $at))

  (func (export "cabi_realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
    (call $take (local.get $size)))

  ;; A reaction of 40 bytes at 64 in which nothing happens.
  (func $nothing (result i32)
    (memory.fill (i32.const 64) (i32.const 0) (i32.const 40))
    (i32.const 64))

  (func (export "upstart:adapter/sessions@0.1.0#init") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 32) (i32.const 0))
    (i32.const 32))

  (func (export "upstart:adapter/sessions@0.1.0#open")
    (param $session i64) (param $direction i32) (param $version i32) (param i32 i32 i32 i32) (result i32)
    (drop (call $nothing))
    (i32.store8 (i32.const 16) (local.get $direction))
    ;; The memo is there, at 16, one byte long.
    (i32.store8 (i32.const 80) (i32.const 1))
    (i32.store (i32.const 84) (i32.const 16))
    (i32.store (i32.const 88) (i32.const 1))
    (i32.const 64))

  ;; Everything is wanted whole: verdict 2.
  (func (export "upstart:adapter/sessions@0.1.0#on-head")
    (param i64 i32 i32 i32 i32 i32 i32 i64) (result i32)
    (i32.store8 (i32.const 32) (i32.const 2))
    (i32.const 32))

  (func (export "upstart:adapter/sessions@0.1.0#on-message")
    (param $session i64) (param $memo i32) (param $memo_length i32) (param $sender i32)
    (param $message i32) (param $length i32) (result i32)
    (local $at i32) (local $made i32)
    (drop (call $nothing))
    (local.set $at (call $take (i32.add (local.get $length) (i32.const 6))))
    (if (i32.eq (i32.load8_u (local.get $memo)) (local.get $sender))
      (then
        ;; From version 1 to 2.
        (i32.store (local.get $at) (i32.const 0x02b2))
        (i32.store16 (i32.add (local.get $at) (i32.const 4)) (i32.const 0))
        (memory.copy (i32.add (local.get $at) (i32.const 6)) (local.get $message) (local.get $length))
        (local.set $made (i32.add (local.get $length) (i32.const 6)))
        (i32.store8 offset=6 (local.get $at)
          (i32.xor (i32.load8_u offset=6 (local.get $at)) (i32.const 32))))
      (else
        (if (i32.lt_u (local.get $length) (i32.const 7)) (then unreachable))
        (local.set $made (i32.sub (local.get $length) (i32.const 6)))
        (memory.copy (local.get $at) (i32.add (local.get $message) (i32.const 6)) (local.get $made))
        (i32.store8 (local.get $at) (i32.xor (i32.load8_u (local.get $at)) (i32.const 32)))))
    ;; One message, at 112, to the other side.
    (i32.store8 (i32.const 112) (i32.xor (local.get $sender) (i32.const 1)))
    (i32.store (i32.const 116) (local.get $at))
    (i32.store (i32.const 120) (local.get $made))
    (i32.store (i32.const 64) (i32.const 112))
    (i32.store (i32.const 68) (i32.const 1))
    (i32.const 64))

  (func (export "upstart:adapter/sessions@0.1.0#on-timer") (param i64 i32 i32) (result i32)
    (call $nothing))

  (func (export "upstart:adapter/sessions@0.1.0#closed") (param i64 i32 i32)
    (global.set $heap (i32.const 4096)))

  ;; After each call memory begins anew.
  (func $anew (param i32) (global.set $heap (i32.const 4096)))
  (export "cabi_post_upstart:adapter/sessions@0.1.0#init" (func $anew))
  (export "cabi_post_upstart:adapter/sessions@0.1.0#open" (func $anew))
  (export "cabi_post_upstart:adapter/sessions@0.1.0#on-head" (func $anew))
  (export "cabi_post_upstart:adapter/sessions@0.1.0#on-message" (func $anew))
  (export "cabi_post_upstart:adapter/sessions@0.1.0#on-timer" (func $anew)))
