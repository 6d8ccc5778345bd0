//! In which order a route asks its deployments.

use super::*;
use crate::snapshot::Stand;

#[test]
fn routes_choose_by_weight_and_fall_back_once() {
    let environment = dev(&format!(
        "{LOCAL}[routes.chat]\ntargets = [{{ model = \"local/tiny\", weight = 3 }}, {{ model = \"demo/echo\", weight = 1 \
         }}, {{ model = \"demo/slow\", weight = 0 }}]\nfallbacks = [\"demo/echo\", \"demo/fast\", \"demo/echo\"]\n\
         timeouts = {{ idle = \"7s\" }}\n[routes.echo]\ntargets = [\"demo/story\"]\n"
    ));
    let chat = route(&environment, "chat");
    let order = |draw, stand: &dyn Fn(&Deployment) -> Stand| {
        let order = chat.attempts(|| draw, stand);
        order.iter().map(|one| one.name.to_string()).collect::<Vec<_>>()
    };
    let names = |draw| order(draw, &|_| Stand::Ready);
    assert_eq!(names(0.0), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(names(0.7499), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(
        names(0.75),
        ["demo/echo", "local/tiny", "demo/fast"],
        "a target that was not chosen comes before the fallbacks"
    );
    assert_eq!(names(0.999_999_999_999), ["demo/echo", "local/tiny", "demo/fast"]);
    let but = |name: &'static str, stand| {
        move |one: &Deployment| if &*one.name == name { stand } else { Stand::Ready }
    };
    assert_eq!(order(0.0, &but("local/tiny", Stand::Away)), ["demo/echo", "demo/fast", "local/tiny"]);
    assert_eq!(order(0.9, &but("local/tiny", Stand::Due)), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(order(0.0, &but("demo/fast", Stand::Due)), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!(order(0.0, &|_| Stand::Away), ["local/tiny", "demo/echo", "demo/fast"]);
    assert_eq!((chat.timeouts.idle, chat.timeouts.connect), (Duration::from_secs(7), Duration::from_secs(5)));
    assert_eq!(&*route(&environment, "echo").targets[0].0.name, "demo/story", "a route hides a bare name");
    let entry = environment.models().find(|entry| &*entry.id == "chat").unwrap();
    assert!(entry.route && !entry.simulated && entry.context.is_none(), "nobody knows local/tiny");
}

#[test]
fn a_route_overrides_the_timeouts_of_a_provider() {
    let environment =
        dev("[providers.p]\nbase_url = \"http://h\"\ntimeouts = { connect = \"1s\", idle = \"2s\" }\n\
         [routes.r]\ntargets = [\"p/m\"]\ntimeouts = { idle = \"9s\" }\n");
    let timeouts = route(&environment, "r").timeouts_on(environment.provider("p").unwrap());
    assert_eq!((timeouts.connect, timeouts.idle), (Duration::from_secs(1), Duration::from_secs(9)));
    assert_eq!(timeouts.total, Duration::from_secs(3_600));
}

#[test]
fn a_route_has_its_own_word_on_the_cache() {
    let minutes = |count: u64| Some(Duration::from_secs(60 * count));
    for (wide, own, (environment_ttl, route_ttl)) in [
        ("", "", (None, None)),
        ("cache = { enabled = true }\n", "", (minutes(5), minutes(5))),
        ("cache = { ttl = \"10m\" }\n", "", (minutes(10), minutes(10))),
        ("cache = { enabled = true, ttl = \"10m\" }\n", "cache = { enabled = false }\n", (minutes(10), None)),
        (
            "cache = { enabled = true, ttl = \"10m\" }\n",
            "cache = { ttl = \"1m\" }\n",
            (minutes(10), minutes(1)),
        ),
        ("cache = { enabled = false, ttl = \"10m\" }\n", "cache = { enabled = true }\n", (None, minutes(10))),
        ("cache = { enabled = false }\n", "cache = { ttl = \"1m\" }\n", (None, None)),
        ("", "cache = {}\n", (None, minutes(5))),
    ] {
        let environment = dev(&format!("{wide}[routes.r]\ntargets = [\"demo/echo\"]\n{own}"));
        assert_eq!(environment.cache, environment_ttl, "{wide}{own}");
        assert_eq!(route(&environment, "r").cache, route_ttl, "{wide}{own}");
    }
}
