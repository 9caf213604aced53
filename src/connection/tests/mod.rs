//! Tests of the module as a whole: a rig of processes over a store and a provider that live in memory, in virtual time.
//! `sim` explores interleavings of faults; the others are single facts.

mod keys;
mod sim;
