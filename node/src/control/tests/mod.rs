//! The node's side of the push against a control plane that the test plays, over a real loopback connection.

mod disk;
mod line;
mod lines;
mod loading;
mod process;
mod restart;
mod world;
