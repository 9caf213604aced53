//! Tests of the module as a whole: a rig of processes over a store and a provider that live in memory, in virtual time.
//! `sim` explores interleavings of faults; the others are single facts.

mod changing;
mod clocks;
mod continuing;
mod deciding;
mod ends;
mod erasing;
mod fleet;
mod freshness;
mod healing;
mod keys;
mod logged;
mod parting;
mod refreshing;
mod reloading;
mod rename;
mod renaming;
mod rig;
mod sim;
mod sparing;
mod surveying;
mod thrift;
mod using;
mod waiting;
