//! Rules in canonical form: parsed, checked values that a script can be compiled from.
