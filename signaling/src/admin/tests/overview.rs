//! Turns beside each other over HTTP, and what they run on.

use voxgate_protocol::timeline::Hop;
use voxgate_telemetry::overview::turn::{HeardTurn, TurnOrigin};

use super::*;

fn origin(organisation: &str, team: &str, provider: &str) -> Arc<TurnOrigin> {
    let region = Some("eu".into());
    let (organisation, team) = (organisation.into(), team.into());
    Arc::new(TurnOrigin {
        organisation,
        team,
        region,
        provider: Some(provider.into()),
        ..TurnOrigin::default()
    })
}

fn note(world: &World, origin: &Arc<TurnOrigin>, model_ms: u64, spender: Option<Hop>) {
    let model = Duration::from_millis(model_ms);
    world.api.turns.note(HeardTurn {
        at: world.api.turns.now(),
        origin: Arc::clone(origin),
        whole: model + Duration::from_millis(100),
        hops: vec![(Hop::Model, model), (Hop::Unattributed, Duration::from_millis(100))],
        cost: Some(NanoDollars::new(7)),
        spender,
    });
}

#[tokio::test]
async fn only_turns_in_reach_are_compared() {
    let world = World::new().await;
    note(&world, &origin("acme", "red", "p1"), 400, None);
    note(&world, &origin("acme", "blue", "p2"), 500, Some(Hop::Model));
    note(&world, &origin("other", "red", "p3"), 600, None);
    for (key, seen) in [
        ("acme/red/operator", vec!["p1"]),
        ("acme/red/owner", vec!["p1", "p2"]),
        ("other/red/auditor", vec!["p3"]),
        ("default/default/owner", vec!["p1", "p2", "p3"]),
        ("default/default/operator", vec![]),
    ] {
        let (status, told) = world.ask(key, "GET", "/admin/v1/overview?by=provider&window=5m", None).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        let groups = told["groups"].as_array().unwrap();
        let names: Vec<_> = groups.iter().map(|group| group["name"].as_str().unwrap()).collect();
        assert_eq!(names, seen, "{key}");
        assert_eq!(told["turns"], json!(seen.len()), "{key}");
        assert_eq!(told["spenders"].as_array().unwrap().len(), usize::from(seen.contains(&"p2")), "{key}");
    }
}

#[tokio::test]
async fn a_group_is_told_with_its_quantiles_hops_and_costs_and_the_heat_map_beside() {
    let world = World::new().await;
    let origin = origin("acme", "red", "p1");
    (1..=20).for_each(|turn| note(&world, &origin, 100 * turn, (turn == 20).then_some(Hop::Model)));
    let (_, told) = world.ask("acme/red/owner", "GET", "/admin/v1/overview?by=region&hop=model", None).await;
    let group = &told["groups"][0];
    assert_eq!((&group["name"], &group["turns"], &group["breaches"]), (&json!("eu"), &json!(20), &json!(1)));
    assert_eq!((&group["whole"]["p50_ms"], &group["whole"]["p95_ms"]), (&json!(1_100.0), &json!(2_000.0)));
    assert_eq!(group["mean_cost_nano_dollars"], 7);
    assert_eq!((&group["hops"][0]["hop"], &group["hops"][0]["owner"]), (&json!("model"), &json!("provider")));
    assert_eq!(group["hops"][0]["p99_ms"], 2_000.0);
    assert_eq!(
        (&group["hops"][1]["hop"], &group["hops"][1]["owner"]),
        (&json!("unattributed"), &json!(null))
    );
    assert_eq!(told["spenders"], json!([{ "hop": "model", "owner": "provider", "breaches": 1 }]));
    let heat = &told["heat"];
    assert_eq!((&heat["hop"], &heat["columns_every_ms"]), (&json!("model"), &json!(60_000)));
    let bounds = heat["bounds_ms"].as_array().unwrap().len();
    let columns = heat["columns"].as_array().unwrap();
    let counts =
        columns.iter().flat_map(|column| column.as_array().unwrap()).map(|count| count.as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 20);
    assert!(columns.iter().all(|column| column.as_array().unwrap().len() == bounds + 1));
    assert_eq!(group["whole"]["histogram"].as_array().unwrap().len(), bounds + 1);
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_with_what_can() {
    let world = World::new().await;
    for (query, param) in [("window=2h", "window"), ("by=weather", "by"), ("hop=elbow", "hop")] {
        let (status, told) =
            world.ask("acme/red/owner", "GET", &format!("/admin/v1/overview?{query}"), None).await;
        assert_eq!((status.as_u16(), &told["error"]["param"]), (400, &json!(param)));
    }
}

#[tokio::test]
async fn only_those_who_run_the_gateway_see_what_it_runs_on() {
    let world = World::new().await;
    for path in ["/admin/v1/fleet", "/admin/v1/latency"] {
        for (key, status) in [
            ("default/default/owner", 200),
            ("default/default/auditor", 200),
            ("default/default/operator", 403),
            ("acme/red/owner", 403),
        ] {
            assert_eq!(world.ask(key, "GET", path, None).await.0.as_u16(), status, "{key} {path}");
        }
    }
}
