//! The second factor, with an authenticator app of our own: SHA-1, HMAC and base32 are written here anew from their standards, and
//! share no line with the program.

use serde_json::{Value, json};

use super::{Browser, PASSWORD, sign_in, sign_up};
use crate::client::Reply;
use crate::stand::{Setup, Stand};

/// FIPS 180-4, section 6.1.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut words = [0_u32; 80];
        for (word, four) in words.iter_mut().zip(block.chunks(4)) {
            *word = u32::from_be_bytes(four.try_into().unwrap());
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (word, more) in state.iter_mut().zip([a, b, c, d, e]) {
            *word = word.wrapping_add(more);
        }
    }
    let mut digest = [0; 20];
    for (four, word) in digest.chunks_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 20] {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.iter().map(|key| key ^ byte).collect::<Vec<u8>>();
    let inner = sha1(&[pad(0x36), message.to_vec()].concat());
    sha1(&[pad(0x5c), inner.to_vec()].concat())
}

/// RFC 4648, section 6.
fn unbase32(text: &str) -> Vec<u8> {
    let value = |c: u8| u64::from(if c >= b'A' { c - b'A' } else { c - b'2' + 26 });
    let bits: String = text.bytes().map(|c| format!("{:05b}", value(c))).collect();
    (0..bits.len() / 8).map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap()).collect()
}

/// RFC 6238 and RFC 4226, section 5.3.
fn app(secret: &str, step: u64) -> String {
    let digest = hmac(&unbase32(secret), &step.to_be_bytes());
    let at = usize::from(digest[19] & 15);
    let word = u32::from_be_bytes(digest[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

fn step_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 30
}

async fn answer(stand: &Stand, challenge: &Value, code: &str) -> Reply {
    let body = json!({ "challenge": challenge, "code": code }).to_string();
    stand.client().with_key("").post("/api/sign-in/totp", body).await
}

#[test]
fn the_app_of_the_test_makes_the_codes_of_the_standard() {
    // RFC 6238, appendix B.
    assert_eq!(app("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 59 / 30), "287082");
    assert_eq!(app("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 1_111_111_109 / 30), "081804");
}

#[tokio::test]
async fn a_second_factor_is_set_up_asked_for_and_works_once() {
    let stand = Stand::start(Setup::default()).await;
    let browser = Browser::of(&stand, &sign_up(&stand, "ann@example.com").await);
    let other = Browser::of(&stand, &sign_in(&stand, "ann@example.com", PASSWORD).await);
    assert_eq!(browser.post("/api/totp", json!({ "password": "not the password" })).await.status, 401);
    let enrolled = browser.post("/api/totp", json!({ "password": PASSWORD })).await;
    assert_eq!(enrolled.status, 201, "{}", enrolled.text());
    let enrolled = enrolled.json();
    let secret = enrolled["secret"].as_str().unwrap();
    assert!(enrolled["uri"].as_str().unwrap().starts_with("otpauth://totp/Tidegate:ann@example.com?secret="));
    assert_eq!(
        sign_in(&stand, "ann@example.com", PASSWORD).await.json()["mfa_required"],
        Value::Null,
        "not yet"
    );
    assert_eq!(browser.post("/api/totp/confirm", json!({ "code": "000000" })).await.status, 401);
    let step = step_now();
    let confirmed = browser.post("/api/totp/confirm", json!({ "code": app(secret, step) })).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let codes = confirmed.json()["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(codes.len(), 10);
    assert_eq!((browser.get("/api/me").await.status, other.get("/api/me").await.status), (200, 401));
    assert_eq!(browser.post("/api/totp", json!({ "password": PASSWORD })).await.status, 409);

    let first = sign_in(&stand, "ann@example.com", PASSWORD).await;
    assert!(first.status == 200 && first.header("set-cookie").is_none(), "{}", first.text());
    let challenge = first.json()["challenge"].clone();
    assert_eq!(first.json()["mfa_required"], true);
    let used = answer(&stand, &challenge, &app(secret, step)).await;
    assert_eq!((used.status, used.code().as_str()), (401, "wrong_code"), "the code of the set-up was used");
    let step = step_now().max(step + 1);
    let next = answer(&stand, &challenge, &app(secret, step)).await;
    assert_eq!(next.status, 200, "{}", next.text());
    let again = answer(&stand, &challenge, &app(secret, step)).await;
    assert_eq!(again.status, 401, "a code works once");
    let browser = Browser::of(&stand, &next);
    assert_eq!(browser.get("/api/me").await.json()["user"]["second_factor"], true);

    let recovery = codes[0].as_str().unwrap();
    assert_eq!(answer(&stand, &challenge, recovery).await.status, 200);
    assert_eq!(answer(&stand, &challenge, recovery).await.status, 401, "a recovery code works once");
    let forged = challenge.as_str().unwrap().replace(".1", ".2");
    assert_eq!(answer(&stand, &json!(forged), codes[1].as_str().unwrap()).await.status, 403);

    assert_eq!(browser.post("/api/totp/disable", json!({ "password": "no" })).await.status, 401);
    assert_eq!(browser.post("/api/totp/disable", json!({ "password": PASSWORD })).await.status, 200);
    assert!(sign_in(&stand, "ann@example.com", PASSWORD).await.header("set-cookie").is_some());
    assert_eq!(
        answer(&stand, &challenge, codes[2].as_str().unwrap()).await.status,
        403,
        "the challenge is over"
    );
}

#[tokio::test]
async fn an_organization_that_asks_for_a_second_factor_gives_nothing_without() {
    let stand = Stand::start(Setup::default()).await;
    let reply = sign_up(&stand, "ann@example.com").await;
    let owner = Browser::of(&stand, &reply);
    let organization = format!("/api/organizations/{}", reply.json()["organization"]["id"].as_str().unwrap());
    let asked = json!({ "policy": { "mfa_required": true } });
    assert_eq!(
        owner.write("PATCH", &organization, asked.clone()).await.status,
        400,
        "she would lock herself out"
    );
    for (policy, word) in [
        (json!({ "session_hours": 0 }), "session_hours"),
        (json!({ "allowed_domains": ["Example.com"] }), "allowed_domains"),
        (json!({ "trial_credit": "-1" }), "trial_credit"),
        (json!({ "colour": "red" }), "colour"),
    ] {
        let refused = owner.write("PATCH", &organization, json!({ "policy": policy })).await;
        assert!(refused.status == 400 && refused.text().contains(word), "{}", refused.text());
    }
    let invited = owner.post("/api/invitations", json!({ "role": "developer" })).await.json();
    let secret = owner.post("/api/totp", json!({ "password": PASSWORD })).await.json()["secret"].clone();
    let code = app(secret.as_str().unwrap(), step_now());
    assert_eq!(owner.post("/api/totp/confirm", json!({ "code": code })).await.status, 200);
    let set = owner.write("PATCH", &organization, asked).await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(owner.get("/api/keys").await.status, 200);

    let body = json!({ "token": invited["token"], "email": "bob@example.com", "password": PASSWORD });
    let accepted = stand.client().with_key("").post("/api/invitations/accept", body.to_string()).await;
    assert_eq!(accepted.status, 201, "{}", accepted.text());
    let bob = Browser::of(&stand, &accepted);
    let refused = bob.get("/api/keys").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "second_factor_needed"));
    assert_eq!(bob.get("/api/me").await.json()["second_factor_needed"], true);
    let secret = bob.post("/api/totp", json!({ "password": PASSWORD })).await.json()["secret"].clone();
    let code = app(secret.as_str().unwrap(), step_now());
    assert_eq!(bob.post("/api/totp/confirm", json!({ "code": code })).await.status, 200);
    assert_eq!(bob.get("/api/keys").await.status, 200);
}
