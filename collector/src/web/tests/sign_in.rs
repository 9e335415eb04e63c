//! The first administrator, signing in, signing out.

use super::support::{Desk, form_token};
use crate::web::{hash_password, secret_hash};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use firstline_collector_store::record::{Role, User};
use firstline_collector_store::store::People;
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";

async fn with_link() -> Desk {
    let desk = Desk::empty();
    let ends = desk.now().plus(Duration::from_hours(1));
    desk.store.set_setup_link(&secret_hash("the-link"), ends).await.unwrap();
    desk
}

async fn with_user() -> Desk {
    let desk = Desk::empty();
    let user = User {
        name: "ada".to_owned(),
        role: Role::Admin,
        site: None,
        password_hash: hash_password(PASSWORD).unwrap(),
        created_at: desk.now(),
        disabled: false,
    };
    let off = User { name: "off".to_owned(), disabled: true, ..user.clone() };
    for user in [user, off] {
        desk.store.add_user(&user, &super::support::audit(desk.now())).await.unwrap();
    }
    desk
}

#[tokio::test]
async fn r29_the_setup_link_works_once_and_is_dead_for_ever_however_it_is_spelled() {
    let desk = with_link().await;
    for wrong in ["/setup", "/setup?token=", "/setup?token=wrong", "/setup?token=THE-LINK"] {
        assert_eq!(desk.get(wrong, None).await.status, 404, "{wrong}");
    }
    assert_eq!(desk.get("/setup?token=the-link", None).await.status, 200);
    let fields = |name, password| [("token", "the-link"), ("name", name), ("password", password)];
    assert_eq!(desk.form("/setup", None, &fields("ada", "short")).await.status, 422);
    assert_eq!(desk.form("/setup", None, &fields("<ada>", PASSWORD)).await.status, 422);
    let made = desk.form("/setup", None, &fields("ada", PASSWORD)).await;
    assert_eq!((made.status, made.header("location")), (StatusCode::SEE_OTHER, "/"));
    assert!(made.header("set-cookie").starts_with("__Host-firstline="));
    for path in [
        "/setup",
        "/setup/",
        "/SETUP",
        "/Setup",
        "/setup?token=the-link",
        "/setup/?token=the-link",
        "/%73etup",
        "/setup%2f",
        "/setup%2F",
        "/setup//",
        "/%2Fsetup",
        "/login/../setup",
        "/login/%2e%2e/setup",
        "/SETUP/?token=the-link",
        "/%2fsetup",
        "//setup",
        "/./setup",
        "/setup;x=1",
        "/setup%00",
    ] {
        assert_eq!(desk.get(path, None).await.status, 404, "GET {path}");
        let path = path.split('?').next().unwrap();
        assert_eq!(desk.form(path, None, &fields("eve", PASSWORD)).await.status, 404, "POST {path}");
    }
    assert!(desk.store.user("eve").await.unwrap().is_none());
    // Nor does a new link (a restored backup, a second start that raced) bring the page back.
    let ends = desk.now().plus(Duration::from_hours(1));
    desk.store.set_setup_link(&secret_hash("the-link"), ends).await.unwrap();
    assert_eq!(desk.get("/setup?token=the-link", None).await.status, 404);
    assert_eq!(desk.form("/setup", None, &fields("eve", PASSWORD)).await.status, 404);
    assert!(desk.store.user("eve").await.unwrap().is_none());
}

#[tokio::test]
async fn an_expired_link_is_dead() {
    let desk = with_link().await;
    desk.pass(Duration::from_hours(2));
    assert_eq!(desk.get("/setup?token=the-link", None).await.status, 404);
    let fields = [("token", "the-link"), ("name", "ada"), ("password", PASSWORD)];
    assert_eq!(desk.form("/setup", None, &fields).await.status, 404);
}

#[tokio::test]
async fn signing_in_gives_a_locked_cookie_and_signing_out_ends_it() {
    let desk = with_user().await;
    let fields = [("name", "ada"), ("password", PASSWORD), ("next", "/devices")];
    let answer = desk.form("/login", None, &fields).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/devices"));
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie} lacks {part}");
    }
    let secret = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    assert_eq!(secret.len(), 64);
    let cookie = format!("__Host-firstline={secret}");
    let request = |method: &str, path: &str, body: String| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", &cookie)
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap()
    };
    let board = desk.send(request("GET", "/", String::new())).await;
    assert_eq!(board.status, 200);
    assert!(!board.text.contains(&secret), "the session's secret must not stand on a page");
    let body = format!("csrf={}", form_token(&board.text));
    assert_eq!(desk.send(request("POST", "/logout", "csrf=wrong".to_owned())).await.status, 403);
    assert_eq!(desk.send(request("POST", "/logout", body)).await.header("location"), "/login");
    assert_eq!(desk.send(request("GET", "/", String::new())).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn r29_wrong_unknown_and_disabled_answer_alike() {
    let desk = with_user().await;
    let mut answers = Vec::new();
    for (name, password) in [("ada", "wrong password"), ("nobody", PASSWORD), ("off", PASSWORD), ("ada", "")]
    {
        let answer = desk.form("/login", None, &[("name", name), ("password", password)]).await;
        assert_eq!(answer.status, 401, "{name}");
        assert_eq!(answer.header("set-cookie"), "");
        answers.push(answer.text.replace(&format!("value=\"{name}\""), "value=\"\""));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answer tells which part was wrong");
}

#[tokio::test]
async fn r29_guessing_is_stopped_even_with_the_right_password() {
    let desk = with_user().await;
    let attempt = |password| [("name", "ada"), ("password", password)];
    for _ in 0..10 {
        assert_eq!(desk.form("/login", None, &attempt("wrong password")).await.status, 401);
    }
    let refused = desk.form("/login", None, &attempt(PASSWORD)).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), "600");
    desk.pass(Duration::from_mins(10));
    assert_eq!(desk.form("/login", None, &attempt(PASSWORD)).await.status, StatusCode::SEE_OTHER);
}
