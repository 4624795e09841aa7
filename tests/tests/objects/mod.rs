//! Packages in an object store, on a real one: versitygw, which keeps a bucket as a folder.

mod boot;
mod kept;

use acceptance::objects::Objects;
use acceptance::{Cast, Database, World};

/// A control plane that keeps its packages there, and its people.
fn beside(objects: &Objects, database: Database) -> Cast {
    let arguments = objects.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    World::with_cast_and(database, &arguments)
}
