//! Users, sessions, tokens, the first sign-in and the audit log.

use crate::fixtures::{at, audit, every_engine};
use firstline_collector_store::StoreError;
use firstline_collector_store::record::{ApiToken, AuditEntry, Page, Role, Session, User};
use std::sync::Arc;

fn user(name: &str, role: Role) -> User {
    User {
        name: name.to_owned(),
        role,
        site: Some("oslo".to_owned()),
        password_hash: "$argon2id$v=19$...".to_owned(),
        created_at: at(0),
        disabled: false,
    }
}

const HOUR: i64 = 3600;

fn session(hash: u8, user: &str) -> Session {
    Session {
        hash: [hash; 32],
        user: user.to_owned(),
        created_at: at(0),
        used_at: at(0),
        expires_at: at(24 * HOUR),
    }
}

#[tokio::test]
async fn users_are_kept_once_per_name() {
    for subject in every_engine() {
        let store = &*subject.store;
        assert!(!store.any_user().await.unwrap(), "{}", subject.name);
        for (name, role) in [("zoe", Role::Viewer), ("anna", Role::Admin), ("mia", Role::Manager)] {
            assert!(store.add_user(&user(name, role), &audit("user.add")).await.unwrap(), "{}", subject.name);
        }
        assert!(
            !store.add_user(&user("zoe", Role::Admin), &audit("user.add")).await.unwrap(),
            "{}",
            subject.name
        );
        assert!(store.any_user().await.unwrap(), "{}", subject.name);
        assert_eq!(store.user("zoe").await.unwrap(), Some(user("zoe", Role::Viewer)), "{}", subject.name);
        assert_eq!(store.user("ZOE").await.unwrap(), None, "{}", subject.name);
        let names: Vec<String> = store.users().await.unwrap().into_iter().map(|user| user.name).collect();
        assert_eq!(names, ["anna", "mia", "zoe"], "{}", subject.name);
        assert_eq!(store.audit(&Page::first(10)).await.unwrap().rows.len(), 3, "{}", subject.name);
    }
}

#[tokio::test]
async fn the_setup_link_makes_one_administrator_and_is_dead_after() {
    for subject in every_engine() {
        let store = &*subject.store;
        store.set_setup_link(&[1; 32], at(60)).await.unwrap();
        store.set_setup_link(&[2; 32], at(60)).await.unwrap();
        assert!(!store.setup_link_valid(&[1; 32], at(1)).await.unwrap(), "{}: replaced", subject.name);
        assert!(store.setup_link_valid(&[2; 32], at(59)).await.unwrap(), "{}", subject.name);
        assert!(!store.setup_link_valid(&[2; 32], at(60)).await.unwrap(), "{}: expired", subject.name);
        let anna = user("anna", Role::Admin);
        assert!(
            !store.create_first_admin(&[1; 32], &anna, at(1)).await.unwrap(),
            "{}: wrong link",
            subject.name
        );
        assert!(
            !store.create_first_admin(&[2; 32], &anna, at(60)).await.unwrap(),
            "{}: expired",
            subject.name
        );
        assert!(store.create_first_admin(&[2; 32], &anna, at(1)).await.unwrap(), "{}", subject.name);
        assert_eq!(store.users().await.unwrap(), [anna], "{}", subject.name);

        let eve = user("eve", Role::Admin);
        assert!(!store.setup_link_valid(&[2; 32], at(1)).await.unwrap(), "{}", subject.name);
        assert!(!store.create_first_admin(&[2; 32], &eve, at(1)).await.unwrap(), "{}", subject.name);
        store.set_setup_link(&[3; 32], at(60)).await.unwrap();
        assert!(!store.setup_link_valid(&[3; 32], at(1)).await.unwrap(), "{}", subject.name);
        assert!(!store.create_first_admin(&[3; 32], &eve, at(1)).await.unwrap(), "{}", subject.name);
    }
}

#[tokio::test]
async fn a_user_added_by_hand_ends_the_setup_link() {
    for subject in every_engine() {
        let store = &*subject.store;
        store.set_setup_link(&[1; 32], at(60)).await.unwrap();
        store.add_user(&user("anna", Role::Admin), &audit("user.add")).await.unwrap();
        assert!(!store.setup_link_valid(&[1; 32], at(1)).await.unwrap(), "{}", subject.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_first_administrators_are_one() {
    for subject in every_engine() {
        subject.store.set_setup_link(&[1; 32], at(60)).await.unwrap();
        let racers: Vec<_> = (0..32)
            .map(|n| {
                let store = Arc::clone(&subject.store);
                let user = user(&format!("admin-{n}"), Role::Admin);
                tokio::spawn(async move { store.create_first_admin(&[1; 32], &user, at(1)).await.unwrap() })
            })
            .collect();
        let mut won = 0;
        for racer in racers {
            won += u32::from(racer.await.unwrap());
        }
        assert_eq!((won, subject.store.users().await.unwrap().len()), (1, 1), "{}", subject.name);
    }
}

#[tokio::test]
async fn a_session_ends_after_eight_idle_hours_and_at_its_end() {
    for subject in every_engine() {
        let store = &*subject.store;
        store.add_user(&user("anna", Role::Technician), &audit("user.add")).await.unwrap();
        store.create_session(&session(1, "anna"), &audit("sign_in")).await.unwrap();
        store.create_session(&session(2, "anna"), &audit("sign_in")).await.unwrap();
        let is_alive =
            async |hash: u8, now: i64| store.session(&[hash; 32], at(now)).await.unwrap().is_some();
        // The first is used every seven hours, until its absolute end.
        for (now, expected) in [(7, true), (14, true), (21, true), (24, false)] {
            assert_eq!(is_alive(1, now * HOUR).await, expected, "{}: {now} h", subject.name);
        }
        // The second is not used.
        assert!(!is_alive(2, 8 * HOUR).await, "{}", subject.name);
        assert!(!is_alive(3, 1).await, "{}: unknown", subject.name);
    }
}

#[tokio::test]
async fn a_session_comes_with_its_user_and_marks_its_use() {
    for subject in every_engine() {
        let store = &*subject.store;
        let anna = user("anna", Role::Technician);
        store.add_user(&anna, &audit("user.add")).await.unwrap();
        store.create_session(&session(1, "anna"), &audit("sign_in")).await.unwrap();
        let used = Session { used_at: at(HOUR), ..session(1, "anna") };
        assert_eq!(store.session(&[1; 32], at(HOUR)).await.unwrap(), Some((used, anna)), "{}", subject.name);
        store.end_session(&[1; 32]).await.unwrap();
        assert_eq!(store.session(&[1; 32], at(HOUR)).await.unwrap(), None, "{}", subject.name);

        let nobody = store.create_session(&session(5, "nobody"), &audit("sign_in")).await;
        assert!(matches!(nobody, Err(StoreError::Conflict { .. })), "{}", subject.name);
        let off = User { disabled: true, ..user("off", Role::Admin) };
        store.add_user(&off, &audit("user.add")).await.unwrap();
        store.create_session(&session(6, "off"), &audit("sign_in")).await.unwrap();
        assert_eq!(store.session(&[6; 32], at(1)).await.unwrap(), None, "{}", subject.name);
    }
}

#[tokio::test]
async fn bearer_tokens_are_found_by_hash() {
    for subject in every_engine() {
        let store = &*subject.store;
        for (n, &role) in (1..).zip(Role::ALL) {
            let token = ApiToken { hash: [n; 32], role, site: None, created_at: at(1) };
            store.create_api_token(&token, &audit("api_token.create")).await.unwrap();
            assert_eq!(store.api_token(&[n; 32]).await.unwrap(), Some(token.clone()), "{}", subject.name);
            let twice = store.create_api_token(&token, &audit("x")).await;
            assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{}", subject.name);
        }
        assert_eq!(store.api_token(&[9; 32]).await.unwrap(), None, "{}", subject.name);
    }
}

#[tokio::test]
async fn the_audit_log_is_paged_newest_first() {
    for subject in every_engine() {
        let store = &*subject.store;
        let entry = |n: i64| AuditEntry { at: at(n), ..audit(&format!("action.{n}")) };
        for n in 1..=5 {
            store.append_audit(&entry(n)).await.unwrap();
        }
        let first = store.audit(&Page::first(2)).await.unwrap();
        assert_eq!(first.rows, [entry(5), entry(4)], "{}", subject.name);
        store.append_audit(&entry(6)).await.unwrap();
        let rest = store.audit(&Page { limit: 10, after: first.next }).await.unwrap();
        assert_eq!(rest.rows, [entry(3), entry(2), entry(1)], "{}", subject.name);
        assert_eq!(rest.next, None, "{}", subject.name);
    }
}
