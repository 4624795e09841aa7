//! Ranges of ports for the deployments of one world, below those that the kernel hands out by itself.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where single ports begin.
const ONES: u32 = 10_000;
const FIRST: u32 = 12_000;
const LAST: u32 = 32_000;
/// More than any test deploys.
const SIZE: u32 = 20;

/// A range nobody uses now, and no other world of this run is given.
pub fn range() -> (u16, u16) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Two runs on one machine should not begin at the same place.
    let offset = std::process::id() % 997;
    let ranges = (LAST - FIRST) / SIZE;
    for _ in 0..ranges {
        let number = (NEXT.fetch_add(1, Ordering::Relaxed) + offset) % ranges;
        let first = u16::try_from(FIRST + number * SIZE).expect("below 65536");
        let last = first + u16::try_from(SIZE).expect("small") - 1;
        if (first..=last).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return (first, last);
        }
    }
    panic!("no {SIZE} free ports in a row between {FIRST} and {LAST}");
}

/// A port nobody uses now, for a program that listens for a while. One that the kernel hands out by itself may be that of a
/// server which is being started again.
pub fn one() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let offset = std::process::id() % 1_999;
    for _ in ONES..FIRST {
        let number = (NEXT.fetch_add(1, Ordering::Relaxed) + offset) % (FIRST - ONES);
        let port = u16::try_from(ONES + number).expect("below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {ONES} and {FIRST}");
}
