//! What a pod starts with lies in one Secret, which takes 1 MiB: whatever would make it more is refused where it is asked for.

use acceptance::archive::{labelled, labelled_endpoints};
use acceptance::world::{cluster_away, grant};
use acceptance::{Cast, json, on_both_databases};

/// An infrastructure of kind kubernetes whose cluster is away.
fn cluster(cast: &Cast, name: &str) {
    let body = json!({"name": name, "kind": "kubernetes", "stage": "dev", "kubernetes": {"namespace": name}, "kubeconfig": cluster_away()});
    cast.admin.post("/infrastructures", body).expect(201);
    grant(&cast.admin, "infrastructures", name, "data-scientists", &["deploy"]);
}

on_both_databases! {
    /// Beside the config lies the join document, in which an infrastructure's own authority is.
    fn what_would_not_fit_into_a_secret_is_refused(cast: Cast) {
        cast.iris();
        cluster(&cast, "plain");
        cluster(&cast, "vouched");
        let own = |authorities: usize| {
            let ca = "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n".repeat(authorities);
            json!({"kubernetes": {"control_plane": {"url": "https://castoff.example:8401", "ca": ca}}})
        };
        let on = |infrastructure: &str, version: &str| {
            let body = json!({"service": "iris", "infrastructure": infrastructure, "version": version, "enabled": false});
            cast.dana.post("/deployments", body)
        };
        let most = 1_110;
        cast.admin.patch("/infrastructures/vouched", own(most)).expect(200);
        on("vouched", "v1").expect(201);

        // 980,000 bytes and 69,000.
        cast.dana.upload("iris", "large", labelled(243, false)).expect(201);
        let refused = cast.dana.patch("/deployments/iris-on-vouched", json!({"version": "large"})).expect(422);
        assert!(refused.text().contains("iris-on-vouched has 97"), "{}", refused.text());
        assert!(refused.text().contains("(1048576 bytes) takes 97"), "{}", refused.text());
        on("plain", "large").expect(201);
        let refused = cast.admin.patch("/infrastructures/plain", own(most)).expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/kubernetes/control_plane", "{}", refused.text());
        assert!(refused.text().contains("iris-on-plain"), "{}", refused.text());
        cast.admin.patch("/infrastructures/plain", own(1)).expect(200);

        // A key more is too much, one less never.
        cast.dana.upload("iris", "more", labelled(12, false)).expect(201);
        let both = json!([{"version": "large", "weight": 50}, {"version": "more", "weight": 50}]);
        cast.dana.patch("/deployments/iris-on-plain", json!({"route": both})).expect(200);
        let keys = "/deployments/iris-on-plain/keys";
        let scope = labelled_endpoints();
        let refused = (0..200).find_map(|number| {
            let made = cast.dana.post(keys, json!({"name": format!("k{number}"), "endpoints": scope}));
            (made.status != 201).then_some(made)
        });
        let refused = refused.expect("there is an end").expect(422);
        assert!(refused.text().contains("revoke keys"), "{}", refused.text());
        let first = &cast.dana.list(keys)[0]["id"];
        let path = format!("{keys}/{}", first.as_str().unwrap());
        cast.dana.post(&format!("{path}/revoke"), json!({})).expect(200);
        // Where there is no Secret there is no end of it.
        let body = json!({"service": "iris", "infrastructure": "dev", "route": both, "enabled": false});
        cast.dana.post("/deployments", body).expect(201);
        for number in 0..40 {
            let key = json!({"name": format!("k{number}"), "endpoints": scope});
            cast.dana.post("/deployments/iris-on-dev/keys", key).expect(201);
        }
    }
}
