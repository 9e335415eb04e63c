//! What becomes of a store that was restored from a backup.

use crate::fixtures::{at, audit, device, every_engine, token};
use firstline_collector_store::record::{EnrollOutcome, Page, Recovered, Role, Session, User};
use firstline_model::TicketId;

#[tokio::test]
async fn f26_what_was_good_for_one_use_ends_and_numbers_move_on_when_a_store_was_restored() {
    for subject in every_engine() {
        let (store, name) = (&*subject.store, subject.name);
        let anna = User {
            name: "anna".to_owned(),
            role: Role::Admin,
            site: None,
            password_hash: "x".to_owned(),
            created_at: at(0),
            disabled: false,
        };
        store.set_setup_link(&[7; 32], at(900)).await.unwrap();
        store.create_token(&token(1, 5, None), &audit("token.create")).await.unwrap();
        assert_eq!(store.reserve_tickets(4).await.unwrap(), TicketId(1), "{name}");
        let recovered = Recovered { taken_at: at(10), restored_at: at(20) };
        assert_eq!(store.recovered().await.unwrap(), None, "{name}");
        let settled = store.settle(recovered, 1_000, &audit("restore")).await.unwrap();
        assert_eq!((settled.sessions, settled.tokens, settled.next_ticket), (0, 1, 1_005), "{name}");
        assert_eq!(store.reserve_tickets(1).await.unwrap(), TicketId(1_005), "{name}");
        assert_eq!(store.recovered().await.unwrap(), Some(recovered), "{name}");
        assert!(!store.setup_link_valid(&[7; 32], at(11)).await.unwrap(), "{name}: the old link lives");
        let outcome = store.enroll(&[1; 32], &device("pc"), at(11)).await.unwrap();
        assert!(matches!(outcome, EnrollOutcome::Refused { .. }), "{name}: {outcome:?}");

        // A second time, with somebody signed in.
        store.add_user(&anna, &audit("user.add")).await.unwrap();
        let session = Session {
            hash: [3; 32],
            user: "anna".to_owned(),
            created_at: at(21),
            used_at: at(21),
            expires_at: at(9_000),
        };
        store.create_session(&session, &audit("sign_in")).await.unwrap();
        let later = Recovered { taken_at: at(30), restored_at: at(40) };
        let settled = store.settle(later, 1, &audit("restore")).await.unwrap();
        assert_eq!((settled.sessions, settled.tokens), (1, 0), "{name}");
        assert_eq!(store.session(&[3; 32], at(41)).await.unwrap(), None, "{name}: the session lives");
        assert_eq!(store.recovered().await.unwrap(), Some(later), "{name}");
        let lines = store.audit(&Page { limit: 500, after: None }).await.unwrap().rows;
        assert_eq!(lines.iter().filter(|line| line.action == "restore").count(), 2, "{name}");
    }
}
