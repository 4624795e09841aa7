//! How long a page of many services takes, of which the caller may see some.

use acceptance::castoff::Server;
use acceptance::{Database, Figure, Load, Report, World, json};
use castoff_control_plane::authz::ServiceMask;
use castoff_control_plane::store;
use sea_orm::{ConnectionTrait, Statement};
use std::time::Duration;
use tokio::time::sleep;

const SERVICES: u32 = 10_000;
const GRANTS_OF_EACH: u32 = 20;
const GROUPS: u32 = 500;
/// Every tenth group is the caller's: 50 of 500.
const OWN: u32 = 10;
const FOR: Duration = Duration::from_secs(3);

/// Groups of service `i` are `31 i + 25 k mod 500` for `k` below 20. Of these the caller is in some where 5 divides `i`:
/// 2,000 of the services.
pub fn measure(report: &mut Report) {
    for (database, name) in [(Some(Database::Sqlite), "SQLite"), (Database::postgres(), "PostgreSQL")] {
        let Some(database) = database else { continue };
        let world = World::start(database.clone());
        let dana = world.user("dana", &[]);
        plant(&world.server, &database);
        let token = format!("Bearer {}", dana.token());
        let headers = [("authorization", token.as_str())];
        let first = dana.get("/services?limit=50").expect(200);
        assert_eq!(
            (first.items().len(), &first.items()[1]["name"]),
            (50, &json!("service-00005"))
        );
        let mut cursor = first.string("/next");
        for _ in 1..20 {
            cursor = dana
                .get(&format!("/services?limit=50&cursor={cursor}"))
                .expect(200)
                .string("/next");
        }
        for (which, path) in [
            ("the first page of 50", "/api/v1/services?limit=50".to_owned()),
            (
                "a page in the middle",
                format!("/api/v1/services?limit=50&cursor={cursor}"),
            ),
        ] {
            let load = Load::get(&world.server.url, &path, &headers, "service-0");
            load.run(1, FOR / 3);
            let rounds: Vec<_> = (0..3).map(|_| load.run(1, FOR)).collect();
            let took = |part| {
                rounds
                    .iter()
                    .map(|answers| answers.within(part) / 1e3)
                    .collect::<Vec<f64>>()
            };
            let figure = Figure::median(format!("{which}, {name}, p50"), "ms", &took(0.5));
            report.add(figure.at_most(5.0).goal(1.0));
            report.add(Figure::median(format!("the same, {name}, p99"), "ms", &took(0.99)));
        }
    }
}

/// Writes the rows into the tables: over HTTP they would take an hour.
fn plant(server: &Server, database: &Database) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let url = match database {
            Database::Sqlite => store::sqlite_url(&server.data),
            Database::Postgres { url, .. } => url.clone(),
        };
        let db = store::connect(&url, false).await.expect("the database answers");
        let postgres = matches!(database, Database::Postgres { .. });
        let (id, series) = match postgres {
            true => ("gen_random_uuid()", "generate_series(0, {last}) AS n(i)"),
            false => (
                "randomblob(16)",
                "(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {last}) SELECT i FROM s) AS n",
            ),
        };
        let upto = |count: u32| series.replace("{last}", &(count - 1).to_string());
        let name = |prefix: &str| match postgres {
            true => format!("'{prefix}-' || lpad(i::text, 5, '0')"),
            false => format!("'{prefix}-' || printf('%05d', i)"),
        };
        let (groups, services, grants) = (upto(GROUPS), upto(SERVICES), upto(GRANTS_OF_EACH));
        let read = i32::from(ServiceMask::READ);
        for statement in [
            format!(
                "INSERT INTO groups (id, name, create_service, admin, created_at, revision) \
                 SELECT {id}, {}, false, false, 1, 1 FROM {groups}",
                name("group")
            ),
            format!(
                "INSERT INTO members (group_id, account_id) SELECT groups.id, accounts.id FROM {groups} \
                 JOIN groups ON groups.name = {} JOIN accounts ON accounts.name = 'dana' WHERE n.i % {OWN} = 0",
                name("group")
            ),
            format!(
                "INSERT INTO services (id, name, description, owner_id, access, key_visibility, created_at, updated_at, \
                 revision) SELECT {id}, {}, 'A model of many', accounts.id, 'keys', 'owner', 1, 1, 1 FROM {services} \
                 JOIN accounts ON accounts.name = 'admin'",
                name("service")
            ),
            format!(
                "INSERT INTO service_grants (service_id, group_id, mask) SELECT services.id, groups.id, {read} \
                 FROM (SELECT n.i AS i, services.id FROM {services} JOIN services ON services.name = {}) AS services \
                 CROSS JOIN (SELECT n.i AS k FROM {grants}) AS k \
                 JOIN (SELECT n.i AS i, groups.id FROM {groups} JOIN groups ON groups.name = {}) AS groups \
                 ON groups.i = (services.i * 31 + k.k * 25) % {GROUPS}",
                name("service"),
                name("group")
            ),
        ] {
            run(&db, &statement).await;
        }
        if postgres {
            vacuum(&db).await;
        }
    });
}

/// As PostgreSQL does by itself within a minute. What a transaction that still runs may not see, or what has not reached the
/// disk, is left for the next time; until then every query has to look at the rows beside the index.
async fn vacuum(db: &impl ConnectionTrait) {
    for _ in 0..50 {
        run(db, "VACUUM (ANALYZE)").await;
        let left = "SELECT 1 FROM pg_class WHERE relname = 'service_grants' AND relallvisible < relpages";
        let left = Statement::from_string(db.get_database_backend(), left);
        if db.query_one_raw(left).await.expect("a catalogue").is_none() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the grants were not vacuumed");
}

async fn run(db: &impl ConnectionTrait, statement: &str) {
    db.execute_unprepared(statement).await.expect(statement);
}
