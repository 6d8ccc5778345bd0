//! Budgets of others than single keys, ceilings, and what is told on the way.

use crate::client::{Client, Reply, chat};
use crate::stand::{Setup, Stand};

/// A stand whose model costs a cent for each request, with these `[[budgets]]`.
async fn stand(budgets: &str, key: &str) -> Stand {
    let price = "[models.\"fake/ok\"]\nprice = { per_request = \"0.01\" }\n";
    let more = format!("{price}{budgets}");
    Stand::start(Setup { key: key.to_owned(), more, ..Setup::default() }).await
}

fn budget(name: &str, rest: &str) -> String {
    format!("[[budgets]]\nname = \"{name}\"\n{rest}\n")
}

async fn ask(client: &Client, user: &str) -> Reply {
    client.header("x-tidegate-user", user).chat("fake/ok").await
}

fn listed(stand: &Stand) -> Vec<serde_json::Value> {
    let (code, out, err) = stand.command(&["budgets", "--json"]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_end_user_has_an_amount_and_the_environment_another() {
    let budgets = budget("users", "per = \"end_user\"\namount = \"0.02\"\nwindow = \"total\"")
        + &budget("all", "per = \"environment\"\namount = \"0.05\"\nwindow = \"total\"");
    let mut stand = stand(&budgets, "").await;
    let client = stand.client();
    for user in ["one", "two"] {
        for _ in 0..2 {
            assert_eq!(ask(&client, user).await.status, 200);
        }
        let spent = ask(&client, user).await;
        assert_eq!((spent.status, spent.code().as_str()), (429, "insufficient_quota"));
        assert_eq!(spent.header("x-should-retry"), Some("false"));
        let text = spent.text();
        assert!(
            text.contains(&format!("budget `users` of end user `{user}` is spent: 0.02 of 0.02 USD")),
            "{text}"
        );
    }
    assert_eq!(ask(&client, "three").await.status, 200);
    let spent = ask(&client, "three").await;
    assert!(spent.text().contains("budget `all` of environment `dev` is spent"), "{}", spent.text());
    let seen = |stand: &Stand| {
        let states = listed(stand);
        states
            .iter()
            .map(|one| format!("{} {}", one["whose"].as_str().unwrap(), one["spent"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let expected = ["environment dev 0.05", "end user one 0.02", "end user three 0.01", "end user two 0.02"];
    assert_eq!(seen(&stand), expected);
    assert!(listed(&stand).iter().all(|one| one["reserved"] == "0.00"));
    // What was spent is known after a start.
    stand.kill();
    stand.run().await;
    assert_eq!(ask(&stand.client(), "one").await.status, 429);
    assert_eq!(seen(&stand), expected);
}

#[tokio::test]
async fn a_ceiling_is_for_each_request() {
    let key = "budgets = [{ name = \"each\", amount = \"0.005\", window = \"request\" }]";
    let prices = "[models.\"fake/dear\"]\nprice = { input = \"1\", output = \"100\" }\nmax_output = 1000\n";
    let stand = stand(prices, key).await;
    let client = stand.client();
    let refused = client.chat("fake/ok").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "insufficient_quota"));
    let text = refused.text();
    assert!(
        text.contains(
            "budget `each` of key `app` lets one request cost 0.005 USD; this one may cost up to 0.01 USD"
        ),
        "{text}"
    );
    for _ in 0..5 {
        let small = client.post("/v1/chat/completions", chat("fake/dear", r#","max_tokens":16"#)).await;
        assert_eq!(small.status, 200, "{}", small.text());
    }
    assert_eq!(client.chat("fake/dear").await.status, 429, "a thousand tokens could cost ten cents");
    assert_eq!(stand.upstream.journal().count(), 5);
    assert!(listed(&stand).is_empty(), "of a ceiling nothing adds up");
}

#[tokio::test]
async fn what_is_reached_is_told_once() {
    let budgets = budget(
        "team",
        "per = \"workspace\"\namount = \"0.10\"\nwindow = \"month\"\ntime_zone = \"Asia/Shanghai\"\nwarn_at = [80, 50, 100]",
    );
    let stand = stand(&budgets, "").await;
    let client = stand.client();
    for _ in 0..10 {
        assert_eq!(client.chat("fake/ok").await.status, 200);
    }
    let log = stand.log();
    for (part, spent) in [(50, "0.05"), (80, "0.08"), (100, "0.10")] {
        let line = format!("budget `team` has reached {part} %: {spent} of 0.10 USD are spent");
        assert_eq!(log.matches(&line).count(), 1, "{log}");
    }
    assert_eq!(client.metric("tidegate_budgets_reached").await, Some(3.0));
    let (_, out, _) = stand.command(&["budgets"]);
    assert!(out.contains("workspace default") && out.contains("reached 100 %"), "{out}");
    // Months of Shanghai begin at 16:00 of the day before, in UTC.
    assert!(listed(&stand)[0]["window_start"].as_str().unwrap().ends_with("T16:00:00.000Z"));
}

#[tokio::test]
async fn two_hundred_at_once_never_overspend() {
    let budgets = budget("all", "per = \"organization\"\namount = \"1.00\"\nwindow = \"total\"");
    let price = "[models.\"fake/seven\"]\nprice = { per_request = \"0.07\" }\n";
    let stand = stand(&format!("{budgets}{price}"), "").await;
    let calls: Vec<_> = (0..200)
        .map(|number| {
            let (client, stream) = (stand.client(), if number % 2 == 0 { "" } else { r#","stream":true"# });
            tokio::spawn(async move {
                client.post("/v1/chat/completions", chat("fake/seven", stream)).await.status
            })
        })
        .collect();
    let mut admitted = 0;
    for call in calls {
        admitted += usize::from(call.await.unwrap() == 200);
    }
    assert_eq!((admitted, stand.upstream.journal().count()), (14, 14));
    assert_eq!(listed(&stand)[0]["spent"], "0.98");
}
