//! One node, one store.

use crate::check::{ACKNOWLEDGED, BY_LOOK_UP, FROM_MEMORY, FROM_MEMORY_WHILE_DEAD, LEASE_END, R1, F2, breaks, holds};
use crate::rules::{Protection, Scene};

const ALL: &[&str] = &[FROM_MEMORY, FROM_MEMORY_WHILE_DEAD, BY_LOOK_UP, ACKNOWLEDGED, LEASE_END];

#[test]
fn f2_and_r1_hold() {
    holds(Scene { eviction: true, ..Scene::ONE_NODE }, ALL);
}

#[test]
fn x_noted() {
    breaks(Scene::ONE_NODE.without(Protection::NotedBeforeSending), R1);
}
#[test]
fn x_clock() {
    breaks(Scene::ONE_NODE.without(Protection::ClockReadLast), F2);
}
