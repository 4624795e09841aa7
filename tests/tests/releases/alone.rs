//! One control plane with SQLite, upgraded in its folder, taken back, and upgraded again.

use super::{People, a_key_comes_and_goes, difference, new_version, recoverable, revealed, revoked_elsewhere};
use acceptance::node::ByHand;
use acceptance::{Cast, Database, Deployed, Edge, Release, World, eventually, json, scratch};

#[test]
fn a_folder_goes_from_one_release_to_the_next_and_back() {
    let Some(previous) = Release::previous() else { return };
    let cast = Cast::gather(World::start_of(previous, Database::Sqlite, &[], &[]));
    let mut edge = Edge::of(cast);
    let people = People::at(&edge.cast.world.server.url, &edge.cast);
    let body = json!({"service": "iris", "infrastructure": "dev", "version": "v1"});
    let local = Deployed::create(&people.dana, body);
    let join = edge.join(&format!("http://{}", edge.cast.world.server.node));
    let nodes = [previous, Release::This].map(|release| {
        let node = ByHand::start_of(release, &scratch::subfolder("node"), &join, &[]);
        edge.up_to_date(&node);
        node
    });
    let mut kept = vec![recoverable(&people.dana, "of the beginning")];

    for (round, release) in [Release::This, previous, Release::This].into_iter().enumerate() {
        let (before, process) = (people.everything(), local.processes(1)[0]);
        let server = &mut edge.cast.world.server;
        assert_eq!(server.stop(), Some(0));
        server.release = release;
        server.launch();
        eventually("everything is there as it was", || {
            let after = people.everything();
            assert_eq!(before.len(), after.len());
            let pairs = before.iter().zip(&after);
            let mut differences = pairs.filter_map(|((path, before), (_, after))| match release {
                Release::This => difference(path, before, after),
                Release::Previous => difference(path, after, before),
            });
            differences.next().map_or(Ok(()), Err)
        });
        for (id, key) in &kept {
            assert_eq!(&revealed(&people.dana, id), key);
        }
        local.answers();
        assert_eq!(local.processes(1)[0], process, "no node was replaced");
        a_key_comes_and_goes(&local, &format!("of round {round}"));
        revoked_elsewhere(&people.dana, &people.dana, &nodes);

        // What this one writes, the next one finds; nodes that it makes are its own.
        kept.push(recoverable(&people.dana, &format!("kept in round {round}")));
        let version = format!("round-{round}");
        new_version(&people.dana, &version);
        people
            .dana
            .patch(&local.path("?wait=60s"), json!({"version": version}))
            .expect(200);
        local.processes(1)[0].kill();
        eventually("another is there", || {
            let node = local.processes(1)[0];
            node.program() == Some(release.program("castoff-node"))
        });
        local.answers();
        people
            .admin
            .post(
                "/users",
                json!({"name": format!("round-{round}"), "password": "a long password"}),
            )
            .expect(201);
        if release == Release::This {
            people
                .dana
                .post("/deployments/iris-on-edge/node-tokens/rotate", json!({}))
                .expect(200);
        }
    }
}
