//! What comes later under an old name inherits nothing of it, and what one no longer sees one does not read about.

use acceptance::world::grant;
use acceptance::{Actor, Cast, Value, json, on_both_databases};

/// What an actor reads in the audit: action and object.
fn read(actor: &Actor) -> Vec<(String, String)> {
    let rows = actor.list("/audit");
    let word = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| (word(row, "action"), word(row, "object")))
        .collect()
}

on_both_databases! {
    /// A leaver's name is given to somebody new, of another kind even: rows, tokens, keys and membership stay with the leaver.
    fn a_new_account_with_an_old_name_inherits_nothing(cast: Cast) {
        let old = cast.world.user("lena", &["data-scientists"]);
        old.post("/services", json!({"name": "roses"})).expect(201);
        let recoverable = json!({"name": "k", "class": "recoverable"});
        let key = old.post("/services/roses/keys", recoverable).expect(201).string("/id");
        old.post("/tokens", json!({"name": "marked"})).expect(201);
        cast.admin.patch("/services/roses", json!({"owner": "dana"})).expect(200);
        cast.admin.delete("/users/lena").expect(204);
        old.get("/whoami").expect(401);

        cast.admin.post("/service-accounts", json!({"name": "lena"})).expect(201);
        let token = cast.admin.post("/service-accounts/lena/tokens", json!({"name": "t"})).expect(201).string("/token");
        let new = Actor::with_token(&cast.world.server.url, "lena", &token);
        assert_eq!(read(&new), []);
        assert!(new.list("/services").is_empty());
        assert_eq!(new.get("/tokens").expect(200).names(), ["t"]);
        assert_eq!(new.get("/whoami").expect(200)["groups"], json!([]));
        new.get("/services/roses").expect(404);
        old.get("/whoami").expect(401);

        // Who reads the service reads what the leaver did with it, by the name of then; and reveals no key of theirs.
        cast.admin.post("/groups", json!({"name": "readers-of-roses"})).expect(201);
        grant(&cast.dana, "services", "roses", "readers-of-roses", &["admin"]);
        cast.admin.put("/groups/readers-of-roses/members/lena", json!({})).expect(204);
        assert!(read(&new).contains(&("create-service".to_owned(), "roses".to_owned())));
        new.post(&format!("/services/roses/keys/{key}/reveal"), json!({})).expect(403);
        // The refusal is on record for who may see the service.
        let refused = |row: &Value| row["action"] == "reveal-key" && row["outcome"] == "refused" && row["actor"] == "lena";
        assert!(cast.dana.list("/audit").iter().any(refused));
    }

    /// Rows about a thing are asked anew for sight of it, one's own as well; what is deleted leaves its doer that row.
    fn ones_own_deeds_are_read_as_long_as_the_thing_is_seen(cast: Cast) {
        cast.iris();
        cast.dana.post("/services", json!({"name": "lilies"})).expect(201);
        cast.omar.patch("/services/iris", json!({"description": "mine"})).expect(403);
        let about_iris = |actor: &Actor| {
            let rows = actor.list("/audit");
            rows.iter().filter(|row| row["object"] == "iris" || row["after"]["on"] == "iris").count()
        };
        assert!(about_iris(&cast.omar) > 0);
        let whole = about_iris(&cast.dana);
        cast.dana.delete("/services/iris/grants/devops").expect(204);
        assert_eq!(about_iris(&cast.omar), 0, "{:?}", read(&cast.omar));
        grant(&cast.dana, "services", "iris", "devops", &["read"]);
        assert_eq!(about_iris(&cast.omar), whole + 2);
        assert_eq!(about_iris(&cast.dana), whole + 2);

        cast.dana.delete("/services/lilies").expect(204);
        let lilies = ("delete-service".to_owned(), "lilies".to_owned());
        let rows = read(&cast.dana);
        assert_eq!(rows.iter().filter(|(_, object)| object == "lilies").collect::<Vec<_>>(), [&lilies]);
        // Made again, it is another: nothing of the first is read with it.
        cast.dana.post("/services", json!({"name": "lilies"})).expect(201);
        grant(&cast.dana, "services", "lilies", "devops", &["read"]);
        let rows = read(&cast.omar);
        let seen: Vec<&str> = rows.iter().filter(|(_, object)| object == "lilies").map(|(action, _)| action.as_str()).collect();
        assert_eq!(seen, ["grant", "create-service"]);
    }
}
