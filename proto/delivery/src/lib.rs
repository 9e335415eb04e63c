//! Both halves of the at-least-once stream, sans-IO.
