use access::{Credential, Csrf, Grant, RequestHeaders};
use base::Fault;

use crate::{Home, client, ctx, new_token, tenant};

/// A session must not be good as a bearer token (that would go round the CSRF check), and so on.
#[tokio::test]
async fn one_kind_is_never_good_as_another() {
    let home = Home::new();
    let link = home.access.bootstrap(&ctx()).await.unwrap().unwrap();
    let spare = home.access.sign_in_link(&ctx(), &link.person).await.unwrap();
    let session = home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
    let owner = home.principal(&session).await;
    let token = home.access.create_token(&ctx(), &owner, &new_token("ci", Grant::all())).await.unwrap();
    for wrong in [&session.secret, &spare.token] {
        assert!(!home.is_in(&Credential::Bearer(wrong.clone())).await);
        assert!(!home.is_in(&Credential::Basic(wrong.clone())).await);
    }
    for wrong in [&token.secret, &spare.token] {
        assert!(!home.is_in(&Credential::Cookie { value: wrong.clone(), csrf: Csrf::SafeMethod }).await);
    }
    for wrong in [&token.secret, &session.secret] {
        let error = home.access.redeem(&ctx(), wrong.expose(), &client()).await.unwrap_err();
        assert_eq!(error.code(), "access.link");
    }
}

#[tokio::test]
async fn a_wrong_secret_of_a_known_id_is_refused() {
    let (home, session) = Home::started().await;
    let text = session.secret.expose();
    let flipped = if text.ends_with('0') { "1" } else { "0" };
    let cookie = format!("stead_session={}{flipped}", &text[..text.len() - 1]);
    let headers = RequestHeaders { cookie: Some(&cookie), safe_method: true, ..Default::default() };
    assert!(!home.is_in(&headers.credential().unwrap().unwrap()).await);
    for junk in ["", "x", "stead_pat_", "stead_pat__", &"a".repeat(10_000)] {
        let header = format!("Bearer {junk}");
        let headers = RequestHeaders { authorization: Some(&header), ..Default::default() };
        let Ok(Some(credential)) = headers.credential() else { continue };
        let error = home.access.authenticate(&tenant(), &credential).await.unwrap_err();
        assert_eq!(error.code(), "access.unauthenticated");
    }
}

/// Neither records nor ledger hold anything that signs in.
#[tokio::test]
async fn state_holds_digests_only() {
    let home = Home::new();
    let link = home.access.bootstrap(&ctx()).await.unwrap().unwrap();
    let spare = home.access.sign_in_link(&ctx(), &link.person).await.unwrap();
    let session = home.access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
    let owner = home.principal(&session).await;
    let token = home.access.create_token(&ctx(), &owner, &new_token("ci", Grant::all())).await.unwrap();
    home.access.set_password(&ctx(), &owner, None, Some("a canary in a cage")).await.unwrap();
    let mut written = serde_json::to_string(&home.entries().await).unwrap();
    for kind in ["person", "sign-in-link", "session", "api-token"] {
        let page = home.state.scan(state::Scan::of(&base::Scope::default(), kind)).await.unwrap();
        assert!(!page.items.is_empty(), "{kind}");
        written += &serde_json::to_string(&page.items).unwrap();
    }
    let halves = |text: &str| text.rsplit('_').next().unwrap()[..32].to_owned();
    for secret in [&link.token, &spare.token, &session.secret, &token.secret] {
        assert!(!written.contains(&halves(secret.expose())));
    }
    assert!(!written.contains("canary"));
    assert!(!written.contains(&session.csrf));
}
