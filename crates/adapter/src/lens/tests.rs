//! Tests of whole lenses.
